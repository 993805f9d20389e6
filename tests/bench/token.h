#ifndef BENCH_TOKEN_H
#define BENCH_TOKEN_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Tokens for a crowd, signed with the server's own secret: HS256 (RFC 7515), a tutorial's claims,
 * and all that Sallyport demands.
 */
#define TOKEN_BYTES 1024

struct signer {
    unsigned char *secret;
    size_t secret_bytes;
    char *id; /* `kid` */
};

/* Read an `oct` JWK (RFC 7517).  False: said on stderr. */
bool signer_read(struct signer *signer, const char *path);
void signer_fini(struct signer *signer);

/* The token of the person numbered `person`, NUL-ended: its length. */
size_t signer_token(const struct signer *signer, unsigned person, char text[TOKEN_BYTES]);

#endif
