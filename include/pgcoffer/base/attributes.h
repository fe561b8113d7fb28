#ifndef PGCOFFER_BASE_ATTRIBUTES_H
#define PGCOFFER_BASE_ATTRIBUTES_H

/* The compiler checks what a comment could only ask for. */
#define NODISCARD                         __attribute__((warn_unused_result))
#define NEVER_NULL                        __attribute__((malloc, returns_nonnull, warn_unused_result))
#define PRINTF_LIKE(format_at, first_arg) __attribute__((format(printf, format_at, first_arg)))

/* Run release(&variable) when the variable leaves scope, on every path out. */
#define SCOPED(release) __attribute__((cleanup(release)))

/* Hand ownership to the caller: yields the pointer and leaves NULL behind. */
#define TAKE(pointer)                                                                                                  \
    __extension__({                                                                                                    \
        __typeof__(pointer) take_pointer_ = (pointer);                                                                 \
        (pointer) = NULL;                                                                                              \
        take_pointer_;                                                                                                 \
    })

#endif
