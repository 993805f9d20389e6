#ifndef COMMON_KEYFILE_H
#define COMMON_KEYFILE_H

#include "common/error.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/*
 * The files of the keys' folder, whatever stands in them: their names, who may touch them, and
 * writing them whole or not at all.  Used by keyring.c alone.
 *
 *   folder/NAME.jwk           what verifies: a public half, or a secret
 *   folder/private/NAME.jwk   a private half, readable by its owner alone
 *   folder/private/signing    a link to NAME.jwk or ../NAME.jwk, the key that signs
 *
 * All of it belongs to root or to us.  Only when root looks, private/ and what lies in it may
 * belong to the service that signs.
 */
#define KEYFILE_NAME_BYTES 64 /* 63 and a NUL */
#define KEYFILE_MAX_BYTES  32768

/* printf into a path; false where it is too long. */
bool keyfile_path(char path[PATH_MAX], struct error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Letters, digits, '.', '_' and '-', the first no dot. */
bool keyfile_check_name(const char *name, struct error *error);

/* The name in "NAME.jwk".  False: the file is called otherwise. */
bool keyfile_name(const char *file, char name[KEYFILE_NAME_BYTES]);

/* The folder is one, and nobody else can change what is in it. */
bool keyfile_check_folder(const char *folder, bool is_private, struct error *error);

/*
 * Read the regular file `path`, not longer than KEYFILE_MAX_BYTES, where nobody else may change it
 * nor, where it `is_private`, read it.  `text` is to be wiped by the caller, also on failure.
 */
bool keyfile_read(const char *path, bool is_private, char text[KEYFILE_MAX_BYTES], size_t *bytes,
                  struct stat *status, struct error *error);

/* What keyfile_read leaves open for a file in folder/: is a secret kept from others? */
bool keyfile_check_secret(const char *path, const struct stat *status, struct error *error);

/* The same for a file that is not ours yet: nobody asks who may touch it. */
bool keyfile_read_foreign(const char *path, char text[KEYFILE_MAX_BYTES], size_t *bytes,
                          struct error *error);

/* Write folder/NAME.jwk with this mode and the folder's owner; an existing file is an error. */
bool keyfile_write(const char *folder, const char *name, mode_t mode, const char *text,
                   struct error *error);

/* Remove folder/private/NAME.jwk and folder/NAME.jwk, where they are, the latter first: what it
 * verified is refused from then on. */
bool keyfile_remove(const char *folder, const char *name, struct error *error);

/* Make folder/private where there is none, and check it; its path is written to `path`. */
bool keyfile_make_private(char path[PATH_MAX], const char *folder, struct error *error);

/* A number that changes when a key's file or the link does; what may not be looked at counts as
 * absent. */
uint64_t keyfile_stamp(const char *folder);

/* Which key folder/private/signing names, and whether it lies in private/; or set that. */
bool keyfile_read_link(const char *folder, char name[KEYFILE_NAME_BYTES], bool *is_private,
                       struct error *error);
bool keyfile_write_link(const char *folder, const char *name, bool is_private, struct error *error);

#endif
