#include "jobs/room_forecast_internal.h"

#include <string.h>

#include "pgcoffer/base/text.h"

#define MINUTE          INT64_C(60000000)
#define HOUR            (60 * MINUTE)
#define BUCKET          (10 * MINUTE)
#define LEAST_SEEN      (10 * MINUTE)
#define LEAST_SEGMENTS  4
#define FARTHEST        (INT64_C(10) * 365 * 24 * HOUR) /* beyond that a date says nothing */
#define LAST_HOUR       (HOUR / BUCKET)                 /* buckets */
#define HORIZON         (24 * HOUR)
#define HORIZON_OF_HOUR (4 * HOUR) /* a load of one hour need not last */

/* ---- the rate ---- */

static void count(struct room_rate *rate, struct timestamp written_at, uint64_t stored_bytes)
{
    int64_t number = written_at.microseconds / BUCKET;
    size_t at = (size_t)(number % ROOM_RATE_BUCKETS);

    if (rate->buckets[at].number > number)
        return; /* older than a day */
    if (rate->buckets[at].number < number) {
        rate->buckets[at].number = number;
        rate->buckets[at].bytes = 0;
        rate->buckets[at].segments = 0;
    }
    rate->buckets[at].bytes += stored_bytes;
    rate->buckets[at].segments++;
}

void room_rate_add(struct room_rate *rate, struct timestamp written_at, uint64_t stored_bytes)
{
    if (written_at.microseconds <= 0)
        return;
    if (rate->first.microseconds != 0 && written_at.microseconds >= rate->first.microseconds) {
        count(rate, written_at, stored_bytes);
        return;
    }
    if (rate->first.microseconds != 0)
        count(rate, rate->first, rate->first_bytes);
    rate->first = written_at;
    rate->first_bytes = stored_bytes;
}

bool room_rate_learn(struct room_rate *rate, const struct wal_archive *archive, struct error *err)
{
    struct wal_files files;

    if (!wal_archive_list(archive, &files, err))
        return false;
    for (size_t i = 0; i < files.count; i++)
        if (files.files[i].state == WAL_FILE_COMPRESSED)
            room_rate_add(rate, files.files[i].written_at, files.files[i].stored_bytes);
    wal_files_done(&files);
    return true;
}

/* Over the last `bucket_count` buckets; 0 when too little was seen. */
static uint64_t rate_over(const struct room_rate *rate, struct timestamp now, int64_t bucket_count)
{
    int64_t newest = now.microseconds / BUCKET;
    int64_t begin = (newest - bucket_count + 1) * BUCKET;
    uint64_t bytes = 0;
    uint32_t segments = 0;

    if (rate->first.microseconds == 0)
        return 0;
    if (begin < rate->first.microseconds)
        begin = rate->first.microseconds;
    int64_t seen = now.microseconds - begin;
    for (size_t i = 0; i < ROOM_RATE_BUCKETS; i++) {
        if (rate->buckets[i].number <= newest - bucket_count || rate->buckets[i].number > newest)
            continue;
        bytes += rate->buckets[i].bytes;
        segments += rate->buckets[i].segments;
    }
    if (seen < LEAST_SEEN || segments < LEAST_SEGMENTS)
        return 0;
    return (uint64_t)((double)bytes * (double)HOUR / (double)seen);
}

/* ---- the forecast ---- */

static struct timestamp moment(struct timestamp now, uint64_t bytes, uint64_t bytes_per_hour)
{
    double microseconds = (double)bytes / (double)bytes_per_hour * (double)HOUR;

    if (microseconds > (double)FARTHEST)
        return (struct timestamp){0};
    return (struct timestamp){now.microseconds + (int64_t)microseconds};
}

static void forecast_at(uint64_t bytes_per_hour, const struct room *room, uint64_t reserve, struct timestamp now,
                        int64_t horizon, struct room_forecast *forecast)
{
    *forecast = (struct room_forecast){.bytes_per_hour = bytes_per_hour};
    if (bytes_per_hour == 0)
        return;
    uint64_t usable = room->free_bytes > ROOM_MARGIN_BYTES ? room->free_bytes - ROOM_MARGIN_BYTES : 0;
    uint64_t above = room->free_bytes > reserve ? room->free_bytes - reserve : 0;
    forecast->full_at = moment(now, usable, bytes_per_hour);
    if (reserve > ROOM_MARGIN_BYTES)
        forecast->reserve_at = moment(now, above, bytes_per_hour);
    int64_t until = now.microseconds + horizon;
    bool is_reserve_near = forecast->reserve_at.microseconds != 0 && forecast->reserve_at.microseconds <= until;
    forecast->is_near =
        is_reserve_near || (forecast->full_at.microseconds != 0 && forecast->full_at.microseconds <= until);
}

void room_forecast(const struct room_rate *rate, const struct room *room, uint64_t reserve, struct timestamp now,
                   struct room_forecast *ret_forecast)
{
    struct room_forecast of_hour;

    forecast_at(rate_over(rate, now, ROOM_RATE_BUCKETS), room, reserve, now, HORIZON, ret_forecast);
    if (ret_forecast->is_near)
        return;
    forecast_at(rate_over(rate, now, LAST_HOUR), room, reserve, now, HORIZON_OF_HOUR, &of_hour);
    if (of_hour.is_near)
        *ret_forecast = of_hour;
}

/* ---- words ---- */

void room_hint(const struct room_disk *disk, const char *server, const char *then, struct error *err)
{
    error_hint(err,
               "Make room there (df -h %s), or delete an old backup (pgcoffer list %s, pgcoffer delete %s BACKUP)%s",
               disk->place, server, server, then);
}

bool room_warning(const struct room_disk *disk, const struct room *room, uint64_t reserve,
                  const struct room_forecast *forecast, const char *server, struct error *ret_warning)
{
    char free_text[TEXT_BYTES_SIZE], reserve_text[TEXT_BYTES_SIZE], rate_text[TEXT_BYTES_SIZE];
    char reserve_at[TIMESTAMP_TEXT_SIZE] = "", full_at[TIMESTAMP_TEXT_SIZE] = "";
    bool is_below = room->free_bytes < reserve;

    if (!is_below && !forecast->is_near)
        return false;
    text_format_bytes(room->free_bytes, free_text);
    text_format_bytes(reserve, reserve_text);
    text_format_bytes(forecast->bytes_per_hour, rate_text);
    /* To the second: more would be pretence. */
    timestamp_format((struct timestamp){forecast->full_at.microseconds / 1000000 * 1000000}, full_at);
    timestamp_format((struct timestamp){forecast->reserve_at.microseconds / 1000000 * 1000000}, reserve_at);
    if (is_below)
        error_set(ret_warning, ERROR_STORAGE,
                  "the disk of the repository, %s, has %s free, less than wal_reserve (%s): no base backup is taken",
                  disk->name, free_text, reserve_text);
    else if (forecast->reserve_at.microseconds != 0)
        error_set(ret_warning, ERROR_STORAGE,
                  "the disk of the repository, %s, will have less than wal_reserve (%s) free at %s, and no base backup "
                  "is taken then",
                  disk->name, reserve_text, reserve_at);
    else
        error_set(ret_warning, ERROR_STORAGE, "the disk of the repository, %s, will be full at %s", disk->name,
                  full_at);
    if (forecast->full_at.microseconds != 0)
        error_detail(ret_warning, "%s are free, and WAL takes %s an hour: full at %s", free_text, rate_text, full_at);
    room_hint(disk, server, ".", ret_warning);
    return true;
}
