/* What the parts of the attacker share. */
#pragma once

/* Writes to the guest's console, which every thread may do. */
void escape_say(const char *text);

/* Does to the supervisor what the name says (control_attacks.c); does not come back. Only the main thread can. */
_Noreturn void control_attack(const char *name);
