#ifndef PGCOFFER_JOBS_BACKUP_RESERVE_INTERNAL_H
#define PGCOFFER_JOBS_BACKUP_RESERVE_INTERNAL_H

#include "pgcoffer/repo/layout.h"
#include "pgcoffer/stage/stage.h"

/*
 * wal_reserve: the free room that belongs to WAL. A backup must not begin without it, and looks before each write
 * whether the bytes would come out of it; the ones that are compressed already and wait cost no room.
 */
struct reserve {
    const struct repo *repo; /* borrowed, as the server's name */
    const char *server;
    uint64_t bytes; /* 0: there is none */
};
/* STORAGE when less than the reserve and `bytes` are free; with what to do. */
bool reserve_allows(const struct reserve *reserve, uint64_t bytes, struct error *err) NODISCARD;
/* Passes bytes on as long as the reserve allows it. */
struct stage *reserve_stage_new(struct stage *next, const struct reserve *reserve);

#endif
