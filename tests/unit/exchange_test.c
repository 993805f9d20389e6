/* What workers exchange and queue: packets, outboxes, mailboxes, timers, the directory. */
#include "gateway/directory.h"
#include "gateway/mailbox.h"
#include "gateway/outbox.h"
#include "gateway/table.h"
#include "gateway/timers.h"

#include "common/memory.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SPAN(text) ((struct span){(text), sizeof(text) - 1})

static void a_short_packet_is_one_text_frame(void **state)
{
    struct span piece[] = {SPAN("[\"a\""), SPAN(",1]")};
    struct packet *packet = packet_new(SPAN("42"), piece, 2, NULL, 0);

    (void)state;
    assert_int_equal(packet->frames, 11);
    assert_memory_equal(packet->frame,
                        "\x81\x09"
                        "42[\"a\",1]",
                        11);
    packet_put(&packet);
    assert_null(packet);
}

static void lengths_take_their_shortest_form(void **state)
{
    static const struct {
        size_t payload, header;
        uint8_t second;
    } cases[] = {{0, 2, 0}, {125, 2, 125}, {126, 4, 126}, {65535, 4, 126}, {65536, 10, 127}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *payload = memory_zeroed(cases[i].payload + 1, 1);
        struct packet *packet = packet_new_frame(OPCODE_BINARY, payload, cases[i].payload);
        struct frame frame;
        uint64_t said = 0;
        size_t at = 0;

        assert_int_equal(packet->frames, cases[i].header + cases[i].payload);
        assert_int_equal(packet->frame[0], 0x82);
        assert_int_equal(packet->frame[1], cases[i].second);
        for (size_t k = 2; k < cases[i].header; k++)
            said = said << 8 | packet->frame[k];
        if (cases[i].header > 2)
            assert_int_equal(said, cases[i].payload);
        assert_true(packet_next_frame(packet, &at, &frame));
        assert_int_equal(frame.bytes, cases[i].payload);
        assert_false(packet_next_frame(packet, &at, &frame));
        packet_put(&packet);
        free(payload);
    }
}

static void attachments_follow_as_binary_frames(void **state)
{
    struct attachment attachment[] = {{(const uint8_t *)"xyz", 3}, {(const uint8_t *)"", 0}};
    struct packet *packet = packet_new(SPAN("452-[]"), NULL, 0, attachment, 2);
    struct frame frame;
    size_t at = 0;

    (void)state;
    assert_true(packet_next_frame(packet, &at, &frame));
    assert_int_equal(frame.opcode, OPCODE_TEXT);
    assert_int_equal(frame.bytes, 6);
    assert_true(packet_next_frame(packet, &at, &frame));
    assert_int_equal(frame.opcode, OPCODE_BINARY);
    assert_memory_equal(frame.payload, "xyz", 3);
    assert_true(packet_next_frame(packet, &at, &frame));
    assert_int_equal(frame.bytes, 0);
    assert_false(packet_next_frame(packet, &at, &frame));
    assert_int_equal(packet->frames, 8 + 5 + 2);
    assert_memory_equal(packet->frame + 8, "\x82\x03xyz\x82\x00", 7);
    packet_put(&packet);
}

static void an_outbox_keeps_order_and_partial_writes(void **state)
{
    struct outbox_pool pool = {0};
    struct outbox *outbox = outbox_borrow(&pool);
    struct iovec piece[100];
    char all[4096];
    size_t total = 0, sent = 0;

    (void)state;
    for (int i = 0; i < 60; i++) {
        char text[16];
        struct packet *packet;
        struct parcel *parcel;

        snprintf(text, sizeof text, "p%02d", i);
        packet = packet_new_ready(text, 3);
        parcel = parcel_new(packet);
        outbox_push(outbox, parcel);
        parcel_put(&parcel);
    }
    assert_int_equal(outbox->bytes, 180);
    assert_int_equal(pool.bytes, 180);
    while (outbox->n > 0) {
        int n = outbox_gather(outbox, piece, 7);

        total = 0;
        for (int i = 0; i < n; i++) {
            memcpy(all + sent + total, piece[i].iov_base, piece[i].iov_len);
            total += piece[i].iov_len;
        }
        total = total > 8 ? 8 : total; /* the client took no more: in the middle of a parcel */
        outbox_consume(outbox, total);
        sent += total;
    }
    assert_int_equal(sent, 180);
    for (int i = 0; i < 60; i++) {
        char text[16];

        snprintf(text, sizeof text, "p%02d", i);
        assert_memory_equal(all + 3 * i, text, 3);
    }
    assert_int_equal(outbox->bytes, 0);
    outbox_return(&outbox);
    assert_non_null(pool.free);
    assert_int_equal(pool.bytes, 0);
    outbox_pool_fini(&pool);
}

static void a_returned_outbox_drops_what_it_held(void **state)
{
    struct outbox_pool pool = {0};
    struct outbox *outbox = outbox_borrow(&pool);
    struct parcel *parcel = parcel_new(packet_new_ready("abc", 3));

    (void)state;
    outbox_push(outbox, parcel);
    outbox_push(outbox, parcel);
    assert_int_equal(parcel->references, 3);
    outbox_return(&outbox);
    assert_int_equal(parcel->references, 1);
    parcel_put(&parcel);
    outbox_pool_fini(&pool);
}

struct letter {
    struct mail mail;
    unsigned sender, number;
};

#define SENDERS 4
#define LETTERS 20000

struct post_office {
    struct mailbox mailbox;
    unsigned next[SENDERS], total;
    bool is_out_of_order;
};

static void take_letter(struct mail *mail, void *receiver)
{
    struct letter *letter = (struct letter *)(void *)mail;
    struct post_office *office = receiver;

    if (office->next[letter->sender]++ != letter->number)
        office->is_out_of_order = true;
    office->total++;
    free(letter);
}

struct sender {
    struct post_office *office;
    unsigned number;
};

static void *send_letters(void *argument)
{
    struct sender *sender = argument;

    for (unsigned i = 0; i < LETTERS; i++) {
        struct letter *letter = memory_zeroed(1, sizeof *letter);

        letter->mail.deliver = take_letter;
        letter->sender = sender->number;
        letter->number = i;
        if (mailbox_post(&sender->office->mailbox, &letter->mail))
            mailbox_wake(&sender->office->mailbox);
    }
    return NULL;
}

static void each_sender_is_heard_whole_and_in_order(void **state)
{
    static struct post_office office;
    struct sender sender[SENDERS];
    pthread_t thread[SENDERS];

    (void)state;
    mailbox_init(&office.mailbox);
    for (unsigned i = 0; i < SENDERS; i++) {
        sender[i] = (struct sender){&office, i};
        assert_int_equal(pthread_create(&thread[i], NULL, send_letters, &sender[i]), 0);
    }
    while (office.total < SENDERS * LETTERS)
        mailbox_drain(&office.mailbox, &office);
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(thread[i], NULL);
    assert_false(office.is_out_of_order);
    assert_int_equal(mailbox_depth(&office.mailbox), 0);
    mailbox_fini(&office.mailbox);
}

static unsigned n_expired;

static void expired(struct timer *timer)
{
    (void)timer;
    n_expired++;
}

static void timers_expire_in_order_and_only_when_due(void **state)
{
    struct timer_list list;
    struct timer timer[3] = {0};

    (void)state;
    timer_list_init(&list, expired);
    list.length_ms = 100;
    assert_int_equal(timer_list_run(&list, 5000), UINT64_MAX);
    timer_arm(&list, &timer[0], 1000);
    timer_arm(&list, &timer[1], 1010);
    timer_arm(&list, &timer[2], 1020);
    timer_arm(&list, &timer[0], 1030); /* again: to the end */
    timer_disarm(&timer[2]);
    assert_int_equal(timer_list_run(&list, 1109), 1110);
    assert_int_equal(n_expired, 0);
    assert_int_equal(timer_list_run(&list, 1110), 1130);
    assert_int_equal(n_expired, 1);
    assert_false(timer_is_armed(&timer[1]));
    assert_int_equal(timer_list_run(&list, 1200), UINT64_MAX);
    assert_int_equal(n_expired, 2);
}

static void a_shorter_length_finds_its_place(void **state)
{
    struct timer_list list;
    struct timer timer[3] = {0};

    (void)state;
    n_expired = 0;
    timer_list_init(&list, expired);
    list.length_ms = 100;
    timer_arm(&list, &timer[0], 1000);
    timer_arm(&list, &timer[1], 1050);
    list.length_ms = 20;
    timer_arm(&list, &timer[2], 1060);
    assert_int_equal(timer_list_run(&list, 1079), 1080);
    assert_int_equal(timer_list_run(&list, 1080), 1100);
    assert_int_equal(n_expired, 1);
    assert_int_equal(timer_list_run(&list, 1150), UINT64_MAX);
    assert_int_equal(n_expired, 3);
}

static void a_place_lives_while_one_worker_holds_it(void **state)
{
    struct directory *directory = directory_new();
    uint64_t hash = table_hash("/\0hall", 6), workers;
    struct place *place = directory_hold(directory, "/\0hall", 6, hash, 3);
    uint32_t count;

    (void)state;
    assert_ptr_equal(directory_hold(directory, "/\0hall", 6, hash, 60), place);
    atomic_fetch_add(&place->count, 5);
    directory_look(directory, "/\0hall", 6, hash, &count, &workers);
    assert_int_equal(count, 5);
    assert_true(workers == (UINT64_C(1) << 3 | UINT64_C(1) << 60));
    directory_release(directory, place, 3);
    directory_look(directory, "/\0hall", 6, hash, &count, &workers);
    assert_true(workers == UINT64_C(1) << 60);
    atomic_fetch_sub(&place->count, 5);
    directory_release(directory, place, 60);
    directory_look(directory, "/\0hall", 6, hash, &count, &workers);
    assert_int_equal(count + workers, 0);
    directory_free(&directory); /* asserts that nothing is left */
}

static void entering_stops_at_the_limit(void **state)
{
    struct directory *directory = directory_new();
    struct place *a, *b;

    (void)state;
    a = directory_enter(directory, "\x7f\0\0\1", 4, 2);
    b = directory_enter(directory, "\x7f\0\0\1", 4, 2);
    assert_non_null(a);
    assert_ptr_equal(a, b);
    assert_null(directory_enter(directory, "\x7f\0\0\1", 4, 2));
    directory_leave(directory, a);
    assert_non_null(directory_enter(directory, "\x7f\0\0\1", 4, 2));
    assert_non_null(directory_enter(directory, "\x7f\0\0\1", 4, 0)); /* 0 lifts it */
    directory_leave(directory, b);
    directory_leave(directory, b);
    directory_leave(directory, b);
    directory_free(&directory);
}

static void a_socket_is_found_in_its_namespace_only(void **state)
{
    struct directory *directory = directory_new();
    struct socket_entry entry = {.id = "0123456789abcd", .worker = 2, .space = 7}, *found;

    (void)state;
    directory_add_socket(directory, &entry);
    assert_int_equal(directory_find_socket(directory, entry.id, 7, 0, &found), 2);
    assert_null(found);
    assert_int_equal(directory_find_socket(directory, entry.id, 7, 2, &found), 2);
    assert_ptr_equal(found, &entry);
    assert_int_equal(directory_find_socket(directory, entry.id, 8, 2, &found), -1);
    directory_remove_socket(directory, &entry);
    assert_int_equal(directory_find_socket(directory, entry.id, 7, 2, &found), -1);
    directory_free(&directory);
}

struct item {
    struct table_link link;
    int number;
};

static void a_table_grows_and_shrinks_without_loss(void **state)
{
    static struct item item[5000];
    struct table table;

    (void)state;
    table_init(&table);
    for (int i = 0; i < 5000; i++) {
        item[i].number = i;
        item[i].link.hash = table_hash(&i, sizeof i);
        table_add(&table, &item[i].link);
    }
    for (int i = 0; i < 5000; i += 2)
        table_remove(&table, &item[i].link);
    for (int i = 0; i < 5000; i++) {
        struct table_link *link = table_first(&table, item[i].link.hash);

        while (link && TABLE_ENTRY(link, struct item, link)->number != i)
            link = table_next(link);
        assert_int_equal(link != NULL, i % 2);
    }
    assert_int_equal(table.used, 2500);
    table_fini(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_packet_is_one_text_frame),
        cmocka_unit_test(lengths_take_their_shortest_form),
        cmocka_unit_test(attachments_follow_as_binary_frames),
        cmocka_unit_test(an_outbox_keeps_order_and_partial_writes),
        cmocka_unit_test(a_returned_outbox_drops_what_it_held),
        cmocka_unit_test(each_sender_is_heard_whole_and_in_order),
        cmocka_unit_test(timers_expire_in_order_and_only_when_due),
        cmocka_unit_test(a_shorter_length_finds_its_place),
        cmocka_unit_test(a_place_lives_while_one_worker_holds_it),
        cmocka_unit_test(entering_stops_at_the_limit),
        cmocka_unit_test(a_socket_is_found_in_its_namespace_only),
        cmocka_unit_test(a_table_grows_and_shrinks_without_loss),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
