/* What the files of the front end share. */
#pragma once

#include "vhost_user/frontend.h"

/* A call of the VMM's begins: all its messages together take that long at most. */
void vu_deadline_set(struct vu_frontend *f, int timeout_ms);

/*
 * Sends m (its body and descriptors; the head is made here) and receives the answer of the request's own kind into m,
 * whose descriptors the caller then has to close. Returns 0 or a negative errno.
 */
int vu_ask(struct vu_frontend *f, enum vu_request request, uint32_t size_bytes, struct vu_message *m, struct err *e);

/* Sends m, and waits for the acknowledgement where that is agreed on. -EREMOTEIO: the back end refuses and lives on. */
int vu_tell(struct vu_frontend *f, enum vu_request request, uint32_t size_bytes, struct vu_message *m, struct err *e);

/* Sends m. A back end that cannot do it ends the connection, which the next answer shows. */
int vu_post(struct vu_frontend *f, enum vu_request request, uint32_t size_bytes, struct vu_message *m, struct err *e);

int vu_tell_u64(struct vu_frontend *f, enum vu_request request, uint64_t value, struct err *e);
int vu_ask_u64(struct vu_frontend *f, enum vu_request request, uint64_t *ret, struct err *e);

/* The in-flight region is of no more use. */
void vu_inflight_forget(struct vu_frontend *f);
