/* The smallest kernel that can count: PVH entry, 1 GiB of identity-mapped memory, long mode, c_main.
   The counting is done by QEMU: under -icount shift=0 the time-stamp counter advances by one per instruction. */

#define CR0_PE_PG 0x80000001        /* Intel SDM 3A, 2.5 */
#define CR4_PAE 0x20
#define MSR_EFER 0xC0000080         /* Intel SDM 4, table 2-2 */
#define EFER_LME 0x100
#define PRESENT_WRITABLE 0x3        /* Intel SDM 3A, 4.5 */
#define LARGE_PAGE 0x83
#define XEN_ELFNOTE_PHYS32_ENTRY 18 /* Xen, public/elfnote.h */

    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 4, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long start

    .section .bss
    .balign 4096
pml4:               .skip 4096
directory_pointers: .skip 4096
directory:          .skip 4096
                    .skip 16384
stack_top:

    .section .rodata
    .balign 8
gdt:
    .quad 0
    .quad 0x00209A0000000000        /* 64-bit code */
gdt_pointer:
    .word 15
    .long gdt

    .text
    .code32
    .globl start
start:
    movl $stack_top, %esp
    movl $directory_pointers + PRESENT_WRITABLE, pml4
    movl $directory + PRESENT_WRITABLE, directory_pointers
    movl $LARGE_PAGE, %eax
    xorl %ecx, %ecx
1:  movl %eax, directory(, %ecx, 8)
    addl $0x200000, %eax
    incl %ecx
    cmpl $512, %ecx
    jne 1b
    movl %cr4, %eax
    orl $CR4_PAE, %eax
    movl %eax, %cr4
    movl $pml4, %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    rdmsr
    orl $EFER_LME, %eax
    wrmsr
    movl %cr0, %eax
    orl $CR0_PE_PG, %eax
    movl %eax, %cr0
    lgdt gdt_pointer
    ljmp $8, $long_mode
    .code64
long_mode:
    xorl %eax, %eax
    movl %eax, %ss
    call c_main
2:  hlt
    jmp 2b
