#include <stdlib.h>
#include <string.h>

#include "jobs/verify/member_walk_internal.h"
#include "pgcoffer/base/memory.h"
#include "support/suite.h"

#define PLAIN_SIZE 20000

static uint8_t plain[PLAIN_SIZE];
static struct index_member members[8];
static struct index contents;
static struct member_walk walk;
static char differing[8][32];
static size_t differing_count;
static struct error err;

static bool note(void *context, const struct index_member *member, const char *found, struct error *failure)
{
    (void)context;
    (void)found;
    (void)failure;
    snprintf(differing[differing_count++], sizeof differing[0], "%s", member->path);
    return true;
}

static void add(const char *archive, const char *path, uint64_t offset, uint64_t size)
{
    struct index_member *member = &members[contents.member_count++];
    struct checksum *checksum = checksum_new(CHECKSUM_CRC32C);

    *member = (struct index_member){.path = memory_copy_text(path), .size = size, .data_offset = offset};
    snprintf(member->archive, sizeof member->archive, "%s", archive);
    checksum_restart(checksum);
    checksum_update(checksum, plain + offset, size);
    checksum_final(checksum, member->checksum);
    checksum_free(checksum);
}

static void make(void)
{
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)(i * 31 + i / 256);
    contents = (struct index){.members = members};
    add("16389", "other archive", 100, 50);
    add("base", "small", 512, 3);
    add("base", "empty", 1536, 0);
    add("base", "large", 2048, 15000);
    add("base", "last", 17920, 1);
    walk = (struct member_walk){.differs = note};
    member_walk_begin(&walk, &contents, "base", CHECKSUM_CRC32C);
    differing_count = 0;
}

static void drop(void)
{
    member_walk_done(&walk);
    for (size_t i = 0; i < contents.member_count; i++)
        free(members[i].path);
}

static void feed(size_t piece)
{
    for (size_t at = 0; at < sizeof plain; at += piece) {
        size_t size = sizeof plain - at < piece ? sizeof plain - at : piece;
        ck_assert(member_walk_feed(&walk, plain + at, at, size, &err));
    }
}

static const size_t pieces[] = {1, 7, 512, 4096, sizeof plain};

START_TEST(sound_members_pass_in_pieces_of_any_size)
{
    feed(pieces[_i]);
    ck_assert_uint_eq(differing_count, 0);
    ck_assert_uint_eq(walk.next, contents.member_count);
}
END_TEST

START_TEST(an_altered_member_is_named_and_the_others_are_not)
{
    plain[9000] ^= 1;
    feed(pieces[_i]);
    ck_assert_uint_eq(differing_count, 1);
    ck_assert_str_eq(differing[0], "large");
}
END_TEST

START_TEST(of_a_member_that_could_not_be_read_nothing_is_said)
{
    ck_assert(member_walk_feed(&walk, plain, 0, 4096, &err));
    ck_assert(member_walk_feed(&walk, NULL, 4096, 4096, &err));
    plain[17920] ^= 1;
    ck_assert(member_walk_feed(&walk, plain + 8192, 8192, sizeof plain - 8192, &err));
    ck_assert_uint_eq(differing_count, 1);
    ck_assert_str_eq(differing[0], "last");
}
END_TEST

START_TEST(members_out_of_order_are_an_error)
{
    members[3].data_offset = 600;
    ck_assert(member_walk_feed(&walk, plain, 0, 512, &err));
    ck_assert(!member_walk_feed(&walk, plain + 1024, 1024, 1024, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("member_walk");

    tcase_add_checked_fixture(tests, make, drop);
    tcase_add_loop_test(tests, sound_members_pass_in_pieces_of_any_size, 0, 5);
    tcase_add_loop_test(tests, an_altered_member_is_named_and_the_others_are_not, 0, 5);
    tcase_add_test(tests, of_a_member_that_could_not_be_read_nothing_is_said);
    tcase_add_test(tests, members_out_of_order_are_an_error);
    return suite_run("member_walk", tests);
}
