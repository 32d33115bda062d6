/* A red-black tree with links in its elements, as src/macadamia/examples/red_black_tree.py. */

#include "measured.h"

enum { LEFT, RIGHT };

struct node {
    struct node *parent;
    struct node *children[2];
    uint64_t key;
    bool red;
};

struct tree {
    struct node nil;
    struct node *root;
};

static void make_empty(struct tree *tree)
{
    tree->nil.red = false;
    tree->root = &tree->nil;
}

static struct node *find(struct tree *tree, uint64_t key)
{
    struct node *node = tree->root;

    while (node != &tree->nil) {
        if (node->key == key)
            return node;
        node = node->children[key > node->key];
    }
    return NULL;
}

static void rotate(struct tree *tree, struct node *node, unsigned side)
{
    struct node *child = node->children[1 - side];
    struct node *inner = child->children[side];

    node->children[1 - side] = inner;
    if (inner != &tree->nil)
        inner->parent = node;
    child->parent = node->parent;
    if (node->parent == &tree->nil)
        tree->root = child;
    else
        node->parent->children[node == node->parent->children[RIGHT]] = child;
    child->children[side] = node;
    node->parent = child;
}

static void mend(struct tree *tree, struct node *node)
{
    while (node->parent->red) {
        struct node *parent = node->parent;
        struct node *grandparent = parent->parent;
        unsigned side = parent == grandparent->children[RIGHT];
        struct node *uncle = grandparent->children[1 - side];

        if (uncle->red) {
            parent->red = false;
            uncle->red = false;
            grandparent->red = true;
            node = grandparent;
            continue;
        }
        if (node == parent->children[1 - side]) {
            rotate(tree, parent, side);
            node = parent;
            parent = node->parent;
        }
        parent->red = false;
        grandparent->red = true;
        rotate(tree, grandparent, 1 - side);
    }
    tree->root->red = false;
}

static void insert(struct tree *tree, struct node *node)
{
    struct node *parent = &tree->nil;
    struct node *place = tree->root;
    unsigned side = LEFT;

    while (place != &tree->nil) {
        parent = place;
        side = node->key > place->key;
        place = place->children[side];
    }
    node->parent = parent;
    node->children[LEFT] = &tree->nil;
    node->children[RIGHT] = &tree->nil;
    node->red = true;
    if (parent == &tree->nil)
        tree->root = node;
    else
        parent->children[side] = node;
    mend(tree, node);
}

#define NODES 4000
static struct tree tree;
static struct node nodes[NODES];

void c_red_black_tree_setup(void)
{
    random_state = SEED;
    make_empty(&tree);
    for (size_t i = 0; i < NODES; i++)
        nodes[i].key = next_random() % (2 * NODES);
}

void c_red_black_tree_run(void)
{
    uint64_t found = 0;

    for (size_t i = 0; i < NODES; i++)
        insert(&tree, &nodes[i]);
    for (uint64_t key = 0; key < 2 * NODES; key++)
        if (find(&tree, key))
            found++;
    outcome = found;
}

uint64_t c_red_black_tree_result(void)
{
    uint64_t digest = outcome;

    for (size_t i = 0; i < NODES; i++) {
        digest = mix(digest, nodes[i].parent->key);
        digest = mix(digest, nodes[i].red);
    }
    return digest;
}
