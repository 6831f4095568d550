#include "trap.h"

#include "gdt.h"
#include "print.h"
#include "verdict.h"

#define GATE_INTERRUPT 0x8e00 /* present, DPL 0, 64-bit interrupt gate */

struct idt_gate {
        uint16_t offset_low, selector, type, offset_middle;
        uint32_t offset_high, reserved;
};

extern const uint8_t trap_entries[256][16];
extern const uint8_t guest_try_resume[];
extern uint64_t guest_try_rsp;
extern const uint8_t user_done[], user_call_resume[]; /* user_entry.S */

static struct idt_gate idt[256];
static void (*irq_functions[256])(void);

/* Called by trap_entry.S. */
void trap_dispatch(struct trap_frame *frame);

static void set_gate(unsigned int vector)
{
        uint64_t entry = (uint64_t)trap_entries[vector];

        idt[vector] = (struct idt_gate){
                .offset_low = (uint16_t)entry,
                .selector = GDT_CODE64,
                .type = GATE_INTERRUPT,
                .offset_middle = (uint16_t)(entry >> 16),
                .offset_high = (uint32_t)(entry >> 32),
        };
}

void trap_load_idt(void)
{
        struct __attribute__((packed)) {
                uint16_t limit;
                uint64_t base;
        } pointer = {sizeof(idt) - 1, (uint64_t)idt};

        __asm__ volatile("lidt %0" : : "m"(pointer));
}

void trap_init(void)
{
        for (unsigned int vector = 0; vector < TRAP_IRQ_FIRST; vector++)
                set_gate(vector);
        trap_load_idt();
}

void trap_set_irq(uint8_t vector, void (*fn)(void))
{
        irq_functions[vector] = fn;
        set_gate(vector);
}

static _Noreturn void die(const struct trap_frame *frame)
{
        static int dying;
        uint64_t cr2;

        /* A fault while printing must not come back here for ever. */
        if (dying++)
                verdict(VERDICT_EXCEPTION);
        __asm__ volatile("movq %%cr2, %0" : "=r"(cr2));
        print("exception %lu: rip 0x%lx error 0x%lx cr2 0x%lx rsp 0x%lx\n", frame->vector, frame->rip, frame->error,
              cr2, frame->rsp);
        verdict(VERDICT_EXCEPTION);
}

/* The processor put the frame on the stack that user_call() left, so that ends where the frame does. */
static void leave_user(struct trap_frame *frame)
{
        frame->cs = GDT_CODE64;
        frame->ss = GDT_DATA;
        frame->rsp = (uint64_t)(frame + 1);
        frame->rip = (uint64_t)user_call_resume;
}

void trap_dispatch(struct trap_frame *frame)
{
        if (frame->vector >= TRAP_IRQ_FIRST) {
                irq_functions[frame->vector]();
                return;
        }
        if (frame->rip == (uint64_t)user_done) {
                leave_user(frame);
                return;
        }
        if (!guest_try_rsp || frame->cs != GDT_CODE64)
                die(frame);
        frame->rax = frame->vector;
        frame->rsp = guest_try_rsp;
        frame->rip = (uint64_t)guest_try_resume;
}
