/*
 * A guest's memory with two queues in it, a driver for them, and a device that gives back what it was sent. The device
 * serves a front end in a process of its own, that can be killed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "memory/guest_ram.h"
#include "vhost_user/backend.h"
#include "vhost_user/frontend.h"

#define WORLD_RAM    (1ULL << 20)
#define WORLD_QUEUES 2
#define WORLD_SIZE   16 /* entries: eight requests of two descriptors */
#define WORLD_CONFIG 24 /* bytes; the first eight are the device's size */

#define FEATURE_VERSION_1 (1ULL << 32)
#define FEATURE_EVENT_IDX (1ULL << 29)
#define FEATURE_INDIRECT  (1ULL << 28)
#define WORLD_FEATURES    (FEATURE_VERSION_1 | FEATURE_EVENT_IDX | FEATURE_INDIRECT)

/* ---- the device ---- */

struct echo {
        uint64_t size;
        uint8_t written;
        uint64_t features;
        bool hold;                             /* takes requests and gives none back */
        struct vu_queue *queues[WORLD_QUEUES]; /* those that run */
        uint16_t held[WORLD_QUEUES][WORLD_SIZE];
        unsigned int held_count[WORLD_QUEUES];
        uint32_t taken; /* requests, which are numbered in what is given back */
        unsigned int starts, stops;
};

extern const struct vu_device_ops echo_ops; /* ctx: struct echo */

/* Takes what there is. */
void echo_serve(struct echo *d, struct vu_queue *q);

/* In a process: commands of one byte. */
enum echo_command {
        ECHO_HOLD = 'h',
        ECHO_RELEASE = 'r', /* gives back what it holds, the last first */
        ECHO_ONE = 'o',     /* gives back the last that it holds */
        ECHO_GROW = 'g',    /* its size doubles, which it tells */
};

struct echo_process {
        pid_t pid;
        int front; /* the front end's socket */
        int command;
};

void echo_start(struct echo_process *p);
void echo_tell(const struct echo_process *p, enum echo_command c); /* returns when it is done */
void echo_kill(struct echo_process *p);

/* ---- the guest ---- */

struct driver {
        struct guest_ram ram;
        int ram_fd;
        int kick[WORLD_QUEUES], call[WORLD_QUEUES];
        uint16_t avail[WORLD_QUEUES], used[WORLD_QUEUES]; /* indices */
        bool busy[WORLD_QUEUES][WORLD_SIZE / 2];
};

void driver_init(struct driver *d);
void driver_fini(struct driver *d);
void driver_queues(const struct driver *d, struct vu_frontend_queue ret[WORLD_QUEUES]);
void driver_rings_clear(struct driver *d);

/* Request slot (0..7) of the queue: out number, in number and the device's count. */
void driver_send(struct driver *d, unsigned int queue, unsigned int slot, uint64_t number);

/* Waits until slot's requests are done: used elements are checked, each once. */
void driver_wait(struct driver *d, unsigned int queue, unsigned int count);

/* Takes what is used. Returns how many. */
unsigned int driver_reap(struct driver *d, unsigned int queue);
uint64_t driver_number(const struct driver *d, unsigned int queue, unsigned int slot); /* that came back */
uint32_t driver_order(const struct driver *d, unsigned int queue, unsigned int slot);  /* when it was taken */

/* Addresses. */
gpa_t world_table(unsigned int queue), world_avail(unsigned int queue), world_used(unsigned int queue);

int world_memfd(const char *name, uint64_t bytes, unsigned int seals);
unsigned int world_open_fds(void); /* how many this process has */
