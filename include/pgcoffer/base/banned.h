#ifndef PGCOFFER_BASE_BANNED_H
#define PGCOFFER_BASE_BANNED_H

/*
 * Included before every file by the compiler's command line. The C library's own
 * headers use these names, so they come first.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

/* A fortified C library makes macros of some. */
#undef sprintf
#undef vsprintf
#undef strcpy
#undef strcat
#undef strncat
#undef gets

/* They write without knowing how much room there is, or return static memory. */
#pragma GCC poison sprintf vsprintf strcpy strcat strncat gets tmpnam mktemp strtok ctime asctime

#endif
