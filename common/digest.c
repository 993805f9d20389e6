/* The digests that only OpenSSL has for us; keys are the business of jwk.c. */
#include "common/digest.h"

#include <assert.h>
#include <openssl/evp.h>

void digest_sha1(const void *data, size_t bytes, unsigned char digest[DIGEST_SHA1_BYTES])
{
    assert(EVP_Digest(data, bytes, digest, NULL, EVP_sha1(), NULL) == 1);
}

bool digest_md5(const void *data, size_t bytes, unsigned char digest[DIGEST_MD5_BYTES])
{
    return EVP_Digest(data, bytes, digest, NULL, EVP_md5(), NULL) == 1;
}
