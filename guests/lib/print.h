/* Formatted text on the UART. */
#pragma once

/*
 * Conversions: %s %c %d %u %x %lu %lx %%, with an optional width, zero padded when it starts with 0 (%08x).
 * At most 255 characters; the rest is dropped. Boot processor only.
 */
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
