/* The front end's exchange with a back end, its introduction, and configuration space. frontend_start.c runs the
 * device. */
#include "vhost_user/frontend.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "vhost_user/frontend_parts.h"

#define CONFIG_STEP 4 /* bytes by which less is asked for when a back end has less; fields of device types end so */

void vu_deadline_set(struct vu_frontend *f, int timeout_ms)
{
        f->deadline_ms = clock_now_ms() + timeout_ms;
}

static int left_ms(const struct vu_frontend *f)
{
        int64_t left = f->deadline_ms - clock_now_ms();

        return left > 0 ? (int)left : 0;
}

static int send_request(struct vu_frontend *f, const struct vu_message_kind *kind, uint32_t flags, uint32_t size_bytes,
                        struct vu_message *m, struct err *e)
{
        int r;

        m->head = (struct vu_header){.request = kind->request,
                                     .flags = VU_FLAG_VERSION | flags,
                                     .size_bytes = size_bytes};
        r = vu_message_send(f->fd, m, left_ms(f));
        return r < 0 ? err_set(e, r, "send the device %s", kind->name) : 0;
}

static int receive_answer(struct vu_frontend *f, const struct vu_message_kind *kind, struct vu_message *ret,
                          struct err *e)
{
        int r = vu_message_receive(f->fd, false, kind, left_ms(f), ret);

        return r < 0 ? err_set(e, r, "the device's answer to %s", kind->name) : 0;
}

int vu_ask(struct vu_frontend *f, enum vu_request request, uint32_t size_bytes, struct vu_message *m, struct err *e)
{
        const struct vu_message_kind *kind = vu_message_kind(request, true);
        int r = send_request(f, kind, 0, size_bytes, m, e);

        return r < 0 ? r : receive_answer(f, kind, m, e);
}

int vu_tell(struct vu_frontend *f, enum vu_request request, uint32_t size_bytes, struct vu_message *m, struct err *e)
{
        const struct vu_message_kind *kind = vu_message_kind(request, true);
        bool acked = f->protocol_features & VU_PROTOCOL_REPLY_ACK;
        struct vu_message answer;
        int r = send_request(f, kind, acked ? VU_FLAG_NEED_REPLY : 0, size_bytes, m, e);

        if (r < 0 || !acked)
                return r;
        r = receive_answer(f, kind, &answer, e);
        if (r == 0 && answer.body.u64 != 0)
                r = err_set(e, -EREMOTEIO, "the device refuses %s", kind->name);
        return r;
}

int vu_post(struct vu_frontend *f, enum vu_request request, uint32_t size_bytes, struct vu_message *m, struct err *e)
{
        return send_request(f, vu_message_kind(request, true), 0, size_bytes, m, e);
}

int vu_tell_u64(struct vu_frontend *f, enum vu_request request, uint64_t value, struct err *e)
{
        struct vu_message m = {.body.u64 = value};

        return vu_tell(f, request, sizeof(m.body.u64), &m, e);
}

int vu_ask_u64(struct vu_frontend *f, enum vu_request request, uint64_t *ret, struct err *e)
{
        struct vu_message m = {0};
        int r = vu_ask(f, request, 0, &m, e);

        if (r == 0)
                *ret = m.body.u64;
        return r;
}

void vu_frontend_init(struct vu_frontend *f, int inflight_at)
{
        *f = (struct vu_frontend){.fd = -1, .request_fd = -1, .inflight_fd = -1, .inflight_at = inflight_at};
}

void vu_frontend_disconnect(struct vu_frontend *f)
{
        fd_closep(&f->fd);
        fd_closep(&f->request_fd);
        f->features = f->protocol_features = 0;
        f->offers_protocol = f->has_memory = f->needs_reset = false;
}

void vu_inflight_forget(struct vu_frontend *f)
{
        fd_closep(&f->inflight_fd);
        f->inflight = (struct vu_payload_inflight){0};
}

void vu_frontend_fini(struct vu_frontend *f)
{
        vu_frontend_disconnect(f);
        vu_inflight_forget(f);
}

/* Asks for len_bytes of configuration space. Returns 1 and what there is, 0 when the back end says no, or a negative
 * errno. */
static int config_ask(struct vu_frontend *f, uint32_t len_bytes, uint8_t *ret, struct err *e)
{
        struct vu_message m = {.body.config = {.size_bytes = len_bytes}};
        int r = vu_ask(f, VU_GET_CONFIG, (uint32_t)VU_CONFIG_BYTES(len_bytes), &m, e);

        if (r < 0 || m.head.size_bytes == 0)
                return r;
        if (m.body.config.off_bytes != 0 || m.body.config.size_bytes != len_bytes)
                return err_set(e, -EPROTO, "the device's answer to GET_CONFIG");
        memcpy(ret, m.body.config.data, len_bytes);
        return 1;
}

static int config_first(struct vu_frontend *f, uint32_t want_bytes, struct err *e)
{
        uint32_t len = want_bytes;
        int r;

        for (;;) {
                r = config_ask(f, len, f->config, e);
                if (r != 0)
                        break;
                if (len <= CONFIG_STEP)
                        return err_set(e, -EPROTO, "the device refuses to show its configuration space");
                len -= CONFIG_STEP;
        }
        if (r == 1)
                f->config_bytes = len;
        return r < 0 ? r : 0;
}

int vu_frontend_config_fetch(struct vu_frontend *f, struct err *e)
{
        uint64_t status;
        int r;

        vu_deadline_set(f, VU_REPLY_TIMEOUT_MS);
        if (f->config_bytes > 0) {
                r = config_ask(f, f->config_bytes, f->config, e);
                if (r <= 0)
                        return r < 0 ? r : err_set(e, -EPROTO, "the device has lost its configuration space");
        }
        if (!(f->protocol_features & VU_PROTOCOL_STATUS))
                return 0;
        r = vu_ask_u64(f, VU_GET_STATUS, &status, e);
        if (r == 0)
                f->needs_reset = status & VIRTIO_CONFIG_S_NEEDS_RESET;
        return r;
}

int vu_frontend_config_write(struct vu_frontend *f, uint32_t off_bytes, const uint8_t *data, uint32_t len_bytes,
                             struct err *e)
{
        struct vu_message m = {.body.config = {.off_bytes = off_bytes, .size_bytes = len_bytes}};
        int r;

        if (!(f->protocol_features & VU_PROTOCOL_CONFIG))
                return err_set(e, -ENOTSUP, "write configuration space");
        if (len_bytes == 0 || off_bytes > f->config_bytes || len_bytes > f->config_bytes - off_bytes)
                return err_set(e, -EINVAL, "write %u bytes of configuration at %u", len_bytes, off_bytes);
        memcpy(m.body.config.data, data, len_bytes);
        vu_deadline_set(f, VU_REPLY_TIMEOUT_MS);
        r = vu_tell(f, VU_SET_CONFIG, (uint32_t)VU_CONFIG_BYTES(len_bytes), &m, e);
        return r == -EREMOTEIO ? -EINVAL : r;
}

static int protocol_agree(struct vu_frontend *f, uint64_t mine, struct err *e)
{
        struct vu_message m = {0};
        uint64_t theirs = 0;
        int r;

        if (!f->offers_protocol)
                return 0;
        r = vu_ask_u64(f, VU_GET_PROTOCOL_FEATURES, &theirs, e);
        if (r < 0)
                return r;
        m.body.u64 = theirs & mine;
        r = vu_post(f, VU_SET_PROTOCOL_FEATURES, sizeof(m.body.u64), &m, e);
        if (r == 0)
                f->protocol_features = theirs & mine;
        return r;
}

/* A back end that cannot say how many queues it has has one. */
static int queues_ask(struct vu_frontend *f, unsigned int queues_max, struct err *e)
{
        uint64_t n = 1;
        int r = 0;

        if (f->protocol_features & VU_PROTOCOL_MQ)
                r = vu_ask_u64(f, VU_GET_QUEUE_NUM, &n, e);
        if (r < 0)
                return r;
        if (n == 0)
                return err_set(e, -EPROTO, "a device without queues");
        f->queues = n < queues_max ? (unsigned int)n : queues_max;
        return 0;
}

static int channel_give(struct vu_frontend *f, int theirs, struct err *e)
{
        struct vu_message m = {.fds = {theirs}, .fd_count = 1};

        if (f->protocol_features & VU_PROTOCOL_BACKEND_REQ)
                return vu_tell(f, VU_SET_BACKEND_REQ_FD, 0, &m, e);
        fd_closep(&f->request_fd);
        return 0;
}

static int introduce(struct vu_frontend *f, uint64_t wanted, unsigned int queues_max, uint32_t config_bytes, int theirs,
                     struct err *e)
{
        uint64_t mine = VU_PROTOCOL_MQ | VU_PROTOCOL_REPLY_ACK | VU_PROTOCOL_INFLIGHT_SHMFD | VU_PROTOCOL_RESET_DEVICE |
                        VU_PROTOCOL_CONFIGURE_MEM_SLOTS | VU_PROTOCOL_STATUS;
        struct vu_message owner = {0};
        uint64_t offered = 0;
        int r;

        vu_deadline_set(f, VU_FIRST_TIMEOUT_MS);
        r = vu_post(f, VU_SET_OWNER, 0, &owner, e);
        if (r == 0)
                r = vu_ask_u64(f, VU_GET_FEATURES, &offered, e);
        if (r < 0)
                return r;
        vu_deadline_set(f, VU_REPLY_TIMEOUT_MS);
        f->features = offered & wanted & ~VU_F_PROTOCOL_FEATURES;
        f->offers_protocol = offered & VU_F_PROTOCOL_FEATURES;
        mine |= (config_bytes > 0 ? VU_PROTOCOL_CONFIG : 0) | (f->request_fd >= 0 ? VU_PROTOCOL_BACKEND_REQ : 0);
        r = protocol_agree(f, mine, e);
        if (r == 0)
                r = queues_ask(f, queues_max, e);
        if (r == 0)
                r = channel_give(f, theirs, e);
        if (r == 0 && f->protocol_features & VU_PROTOCOL_CONFIG)
                r = config_first(f, config_bytes, e);
        return r;
}

int vu_frontend_connect(struct vu_frontend *f, int fd, uint64_t wanted, unsigned int queues_max, uint32_t config_bytes,
                        const int backend_pair[2], struct err *e)
{
        int r = -EINVAL;

        f->fd = fd;
        f->request_fd = backend_pair ? backend_pair[0] : -1;
        f->queues = 0;
        f->config_bytes = 0;
        memset(f->config, 0, sizeof(f->config));
        if (config_bytes > VU_CONFIG_MAX || queues_max == 0)
                err_set(e, r, "a device of %u queues, %u bytes of configuration", queues_max, config_bytes);
        else
                r = introduce(f, wanted, queues_max, config_bytes, backend_pair ? backend_pair[1] : -1, e);
        if (r < 0)
                vu_frontend_disconnect(f);
        return r;
}

int vu_frontend_request_handle(struct vu_frontend *f, struct err *e)
{
        struct vu_message m;
        int r = vu_message_receive(f->request_fd, false, NULL, VU_MESSAGE_TIMEOUT_MS, &m);

        if (r == -EPIPE)
                return r;
        if (r < 0)
                return err_set(e, r, "a message of the device");
        if (!(f->protocol_features & (VU_PROTOCOL_CONFIG | VU_PROTOCOL_STATUS)))
                return err_set(e, -EPROTO, "the device tells of a configuration it does not have");
        if (!(m.head.flags & VU_FLAG_NEED_REPLY))
                return 1;
        if (!(f->protocol_features & VU_PROTOCOL_REPLY_ACK))
                return err_set(e, -EPROTO, "the device asks for an answer that is not agreed on");
        m.head.flags = VU_FLAG_VERSION | VU_FLAG_REPLY;
        m.head.size_bytes = sizeof(m.body.u64);
        m.body.u64 = 0;
        r = vu_message_send(f->request_fd, &m, 0); /* one that does not read its answers has itself to blame */
        return r < 0 ? err_set(e, r, "answer the device") : 1;
}
