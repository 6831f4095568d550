/* What the files of the back end share. Message handlers: 0 or a negative errno with e; an answer goes into *m. */
#pragma once

#include "vhost_user/backend.h"

/* An eventfd of the front end's may be anything: refuses what is not of an anonymous inode, makes it non-blocking. */
int vu_event_accept(int fd, struct err *e);

/* Starts or stops the queue as live, enabled and memory have it. A ring that is not in memory is only an error when
 * must is set. */
int vu_queue_apply(struct vu_backend *b, struct vu_queue *q, bool must, struct err *e);

/* Stops all queues; those that are still live start again in vu_queues_resume(). */
void vu_queues_pause(struct vu_backend *b);
int vu_queues_resume(struct vu_backend *b, struct err *e);
bool vu_queues_live(const struct vu_backend *b);

/* As after the connection, but for what belongs to the connection. */
void vu_queue_reset(struct vu_backend *b, struct vu_queue *q);
void vu_inflight_drop(struct vu_backend *b);

int vu_on_vring_num(struct vu_backend *b, struct vu_message *m, struct err *e);
int vu_on_vring_addr(struct vu_backend *b, struct vu_message *m, struct err *e);
int vu_on_vring_set_base(struct vu_backend *b, struct vu_message *m, struct err *e);
int vu_on_vring_get_base(struct vu_backend *b, struct vu_message *m, struct err *e);
int vu_on_vring_kick(struct vu_backend *b, struct vu_message *m, struct err *e);
int vu_on_vring_call(struct vu_backend *b, struct vu_message *m, struct err *e);
int vu_on_vring_err(struct vu_backend *b, struct vu_message *m, struct err *e);
int vu_on_vring_enable(struct vu_backend *b, struct vu_message *m, struct err *e);

int vu_on_mem_table(struct vu_backend *b, struct vu_message *m, struct err *e);
int vu_on_max_mem_slots(struct vu_backend *b, struct vu_message *m, struct err *e);
int vu_on_add_mem_reg(struct vu_backend *b, struct vu_message *m, struct err *e);
int vu_on_rem_mem_reg(struct vu_backend *b, struct vu_message *m, struct err *e);
int vu_on_get_inflight(struct vu_backend *b, struct vu_message *m, struct err *e);
int vu_on_set_inflight(struct vu_backend *b, struct vu_message *m, struct err *e);
