#include <openssl/ssl.h>

#include "pg/connection_internal.h"

/*
 * libpq reads until the socket is empty or its buffer is full; when it is full, what TLS still holds makes it double
 * the buffer, and it never gives memory back. While the server sends faster than we take, which is every large backup
 * and every receiver that catches up, that doubles on and on (seen: 64 MB after 1.5 GB). So the socket claims to be
 * empty after each portion, once: libpq then hands out what it has, and its buffer stays as small as a few messages.
 */
#define PORTION_BYTES ((size_t)256 * 1024)

static long count_bytes(BIO *bio, int operation, const char *bytes, size_t size, int number, long other, int result,
                        size_t *processed)
{
    size_t *left = (size_t *)(void *)BIO_get_callback_arg(bio);

    (void)bytes;
    (void)size;
    (void)number;
    (void)other;
    if (operation == BIO_CB_READ && *left == 0) {
        *left = PORTION_BYTES;
        BIO_set_retry_read(bio);
        return -1;
    }
    if (operation == (BIO_CB_READ | BIO_CB_RETURN) && result > 0 && processed != NULL)
        *left -= *processed < *left ? *processed : *left;
    return result;
}

void pg_limit_portions(struct pg_connection *connection)
{
    SSL *ssl = PQgetssl(connection->handle);

    if (ssl == NULL) /* without TLS libpq never doubles */
        return;
    connection->portion_left = PORTION_BYTES;
    BIO_set_callback_arg(SSL_get_rbio(ssl), (char *)&connection->portion_left);
    BIO_set_callback_ex(SSL_get_rbio(ssl), count_bytes);
}
