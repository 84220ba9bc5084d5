// The guest: a 64-bit program without an operating system that performs a list of requests and says when it is done.
// Position-independent, all memory identity-mapped, interrupts off. Each vCPU runs it with its own control block at GS
// and its own stack, which only exceptions use. Offsets and numbers: layout.h.
//
// It is data of the host's library, not code: the VMM copies it into the guest's memory.
#include "layout.h"

	.section .rodata
	.balign 16
	.globl	guest_program, guest_program_entry, guest_program_next_request, guest_program_end
	.hidden	guest_program, guest_program_entry, guest_program_next_request, guest_program_end

// Time stamp counter in rax, not read before what precedes it is done. rdx is lost.
.macro now
	lfence
	rdtsc
	shlq	$32, %rdx
	orq	%rdx, %rax
.endm

// Exceptions: nothing here causes one on purpose, so each ends the run. The processor pushes an error code for some; the
// others get a 0, so that all stacks look alike.
guest_program:
	.set	vector, 0
	.rept	GUEST_EXCEPTIONS
	.balign	GUEST_EXCEPTION_BYTES
	.if	(vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
	.else
	pushq	$0
	.endif
	pushq	$vector
	jmp	exception
	.set	vector, vector + 1
	.endr

	.balign	GUEST_EXCEPTION_BYTES
exception:
	popq	%gs:CONTROL_VECTOR
	popq	%gs:CONTROL_ERROR_CODE
	popq	%gs:CONTROL_RIP
	movq	%cr2, %rax
	movq	%rax, %gs:CONTROL_CR2
	movl	$GUEST_PORT_EXCEPTION, %edx
	outb	%al, %dx
0:	hlt
	jmp	0b

// r12: the request that it is at.
guest_program_entry:
	movq	%gs:CONTROL_LIST, %r12
begin:
	movq	%r12, %gs:CONTROL_CURRENT
	movl	REQUEST_PACING(%r12), %ecx
	testl	%ecx, %ecx
	jz	perform
	movq	REQUEST_DUE(%r12), %rbx
	cmpl	$GUEST_RELATIVE, %ecx
	jne	wait
	now
	addq	%rax, %rbx
	movq	%rbx, REQUEST_DUE(%r12)
// Think time. Signed, as what was due before the counter was 0 is below that.
wait:
	now
	cmpq	%rbx, %rax
	jge	perform
	pause
	jmp	wait

perform:
	now
	movq	%rax, REQUEST_START(%r12)
	movl	REQUEST_KIND(%r12), %eax
	cmpl	$GUEST_MAP_GPA_RANGE, %eax
	je	map_gpa_range
	cmpl	$GUEST_READ, %eax
	je	read
	cmpl	$GUEST_WRITE, %eax
	je	write
	cmpl	$GUEST_HOST, %eax
	je	host
	cmpl	$GUEST_END, %eax
	je	end
	ud2

guest_program_next_request:
	now
	movq	%rax, REQUEST_END(%r12)
	addq	$REQUEST_BYTES, %r12
	jmp	begin

// KVM_HC_MAP_GPA_RANGE, number 12: Documentation/virt/kvm/x86/hypercalls.rst.
map_gpa_range:
	movq	REQUEST_GPA(%r12), %rbx
	movq	REQUEST_PAGES(%r12), %rcx
	movq	REQUEST_ATTRS(%r12), %rdx
	movl	$12, %eax
	cmpq	$0, %gs:CONTROL_USE_VMCALL
	jne	0f
	vmmcall
	jmp	1f
0:	vmcall
1:	movq	%rax, REQUEST_ANSWER(%r12)
	jmp	guest_program_next_request

// One access per page.
read:
	movq	REQUEST_GPA(%r12), %rdi
	movq	REQUEST_PAGES(%r12), %rcx
0:	movb	(%rdi), %al
	addq	$4096, %rdi
	decq	%rcx
	jnz	0b
	jmp	guest_program_next_request

// Writes the page's address + 1, so that a reader can tell who wrote, and where.
write:
	movq	REQUEST_GPA(%r12), %rdi
	movq	REQUEST_PAGES(%r12), %rcx
0:	leaq	1(%rdi), %rax
	movq	%rax, (%rdi)
	addq	$4096, %rdi
	decq	%rcx
	jnz	0b
	jmp	guest_program_next_request

host:
	movl	$GUEST_PORT_HOST, %edx
	outb	%al, %dx
	jmp	guest_program_next_request

// When it runs again, there is another list.
end:
	movl	$GUEST_PORT_END, %edx
	outb	%al, %dx
	jmp	guest_program_entry

guest_program_end:

	.section .note.GNU-stack, "", @progbits
