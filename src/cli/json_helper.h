/* JSON is read and written by bulkhead-json, a short-lived process without privileges: no parser runs in this one. */
#pragma once

#include "base/err.h"
#include "spec/guest_spec.h"

/*
 * Lets the helper read the guest configuration at path. Its own one-line error goes to standard error; then the
 * negative errno comes with an empty text in e and the helper's exit status.
 */
int json_spec_read(const char *path, struct guest_spec *ret, struct err *e);

/* Lets the helper print spec as JSON on standard output. */
int json_spec_print(const struct guest_spec *spec, struct err *e);

/* Lets the helper print a report (lines as `bulkhead-json report` takes them) as JSON on standard output. */
int json_report_print(const char *lines, size_t len, struct err *e);
