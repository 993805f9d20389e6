/*
 * The files of the keys' folder: who may touch them, and how they change without ever being half
 * written.  What stands in them is keyring.c's business.
 */
#include "common/keyfile.h"

#include <sys/stat.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OTHERS_MAY_WRITE (S_IWGRP | S_IWOTH)

static bool name_is_valid(const char *name, size_t length)
{
    return length > 0 && length < KEYFILE_NAME_BYTES && name[0] != '.' &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") >=
               length;
}

static bool system_error(const char *path, struct error *error)
{
    return error_set(error, "%s: %s", path, strerror(errno));
}

static bool check_access(const struct stat *status, const char *path, bool is_private,
                         mode_t forbidden, const char *mend, struct error *error)
{
    mode_t excess = status->st_mode & forbidden;
    bool is_services = is_private && geteuid() == 0;

    if (status->st_uid != 0 && status->st_uid != geteuid() && !is_services)
        return error_set(error, "%s belongs to user %u, neither root nor us: run `chown root %s`",
                         path, (unsigned)status->st_uid, path);
    if (excess)
        return error_set(error, "%s has mode %04o, others can %s it: run `chmod %s %s`", path,
                         (unsigned)status->st_mode & 07777,
                         excess & OTHERS_MAY_WRITE ? "change" : "read", mend, path);
    return true;
}

static bool read_whole(int fd, char text[KEYFILE_MAX_BYTES], size_t *bytes)
{
    ssize_t n;

    for (*bytes = 0; *bytes < KEYFILE_MAX_BYTES; *bytes += (size_t)n) {
        n = read(fd, text + *bytes, KEYFILE_MAX_BYTES - *bytes);
        if (n <= 0)
            return n == 0;
    }
    errno = EFBIG;
    return false;
}

/* Without waiting for a pipe's other end. */
static int open_regular(const char *path, struct stat *status, struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0 || fstat(fd, status) != 0)
        system_error(path, error);
    else if (S_ISREG(status->st_mode))
        return fd;
    else
        error_set(error, "%s: is not a regular file", path);
    if (fd >= 0)
        close(fd);
    return -1;
}

/* A new file belongs to whom its folder belongs to: root makes keys for the services. */
static bool give_to_owner_of(const char *folder, int fd)
{
    struct stat status;

    if (stat(folder, &status) != 0)
        return false;
    if (geteuid() != 0)
        status.st_uid = geteuid();
    return (status.st_uid == geteuid() && status.st_gid == getegid()) ||
           fchown(fd, status.st_uid, status.st_gid) == 0;
}

static bool write_whole(int fd, const char *text, size_t bytes)
{
    ssize_t n;

    for (; bytes > 0; bytes -= (size_t)n, text += n)
        if ((n = write(fd, text, bytes)) < 0)
            return false;
    return fsync(fd) == 0;
}

static bool sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;

    if (fd >= 0)
        close(fd);
    return synced;
}

bool keyfile_path(char path[PATH_MAX], struct error *error, const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(path, PATH_MAX, format, arguments);
    va_end(arguments);
    return length < PATH_MAX || error_set(error, "%.200s...: the path is too long", path);
}

bool keyfile_check_name(const char *name, struct error *error)
{
    if (name_is_valid(name, strlen(name)))
        return true;
    return error_set(error,
                     "\"%s\": a key's name has 1 to %d letters, digits, '.', '_' or '-' and does "
                     "not begin with a dot",
                     name, KEYFILE_NAME_BYTES - 1);
}

bool keyfile_name(const char *file, char name[KEYFILE_NAME_BYTES])
{
    size_t length = strlen(file);

    if (length <= 4 || strcmp(file + length - 4, ".jwk") != 0 || !name_is_valid(file, length - 4))
        return false;
    memcpy(name, file, length - 4);
    name[length - 4] = '\0';
    return true;
}

bool keyfile_check_folder(const char *folder, bool is_private, struct error *error)
{
    struct stat status;

    if (stat(folder, &status) != 0)
        return system_error(folder, error);
    if (!S_ISDIR(status.st_mode))
        return error_set(error, "%s: is not a folder", folder);
    return check_access(&status, folder, is_private, OTHERS_MAY_WRITE, "go-w", error);
}

bool keyfile_read(const char *path, bool is_private, char text[KEYFILE_MAX_BYTES], size_t *bytes,
                  struct stat *status, struct error *error)
{
    int fd = open_regular(path, status, error);
    bool whole;

    if (fd < 0)
        return false;
    whole =
        check_access(status, path, is_private, is_private ? S_IRWXG | S_IRWXO : OTHERS_MAY_WRITE,
                     is_private ? "0600" : "go-w", error) &&
        (read_whole(fd, text, bytes) || system_error(path, error));
    close(fd);
    return whole;
}

bool keyfile_check_secret(const char *path, const struct stat *status, struct error *error)
{
    return check_access(status, path, false, OTHERS_MAY_WRITE | S_IRWXO, "0640", error);
}

bool keyfile_read_foreign(const char *path, char text[KEYFILE_MAX_BYTES], size_t *bytes,
                          struct error *error)
{
    struct stat status;
    int fd = open_regular(path, &status, error);
    bool whole = fd >= 0 && (read_whole(fd, text, bytes) || system_error(path, error));

    if (fd >= 0)
        close(fd);
    return whole;
}

/* link(2) fails where rename(2) would replace. */
bool keyfile_write(const char *folder, const char *name, mode_t mode, const char *text,
                   struct error *error)
{
    char path[PATH_MAX], temporary[PATH_MAX];
    bool written = false;
    int fd;

    if (!keyfile_path(path, error, "%s/%s.jwk", folder, name) ||
        !keyfile_path(temporary, error, "%s/.%s.XXXXXX", folder, name))
        return false;
    fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return system_error(temporary, error);
    if (!give_to_owner_of(folder, fd) || fchmod(fd, mode) != 0 ||
        !write_whole(fd, text, strlen(text)) || link(temporary, path) != 0) {
        system_error(path, error);
    } else if (!sync_folder(folder)) {
        system_error(folder, error);
        unlink(path);
    } else {
        written = true;
    }
    unlink(temporary);
    close(fd);
    return written;
}

bool keyfile_remove(const char *folder, const char *name, struct error *error)
{
    static const char *const places[] = {"", "private/"};
    char path[PATH_MAX];

    for (size_t i = 0; i < 2; i++)
        if (!keyfile_path(path, error, "%s/%s%s.jwk", folder, places[i], name) ||
            (unlink(path) != 0 && errno != ENOENT && !system_error(path, error)))
            return false;
    return sync_folder(folder) || system_error(folder, error);
}

bool keyfile_make_private(char path[PATH_MAX], const char *folder, struct error *error)
{
    int fd;

    if (!keyfile_path(path, error, "%s/private", folder))
        return false;
    if (mkdir(path, 0700) == 0) {
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || !give_to_owner_of(folder, fd))
            system_error(path, error);
        if (fd >= 0)
            close(fd);
    }
    return keyfile_check_folder(path, true, error);
}

bool keyfile_read_link(const char *folder, char name[KEYFILE_NAME_BYTES], bool *is_private,
                       struct error *error)
{
    char path[PATH_MAX], target[KEYFILE_NAME_BYTES + 16];
    ssize_t length;

    if (!keyfile_path(path, error, "%s/private", folder) ||
        !keyfile_check_folder(path, true, error) ||
        !keyfile_path(path, error, "%s/private/signing", folder))
        return false;
    length = readlink(path, target, sizeof target - 1);
    if (length < 0)
        return error_set(error, "%s: %s; it must be a link to the key that signs", path,
                         strerror(errno));
    target[length] = '\0';
    *is_private = strncmp(target, "../", 3) != 0;
    return keyfile_name(target + (*is_private ? 0 : 3), name) ||
           error_set(error, "%s: must point to NAME.jwk, or to ../NAME.jwk for an \"oct\" key",
                     path);
}

bool keyfile_write_link(const char *folder, const char *name, bool is_private, struct error *error)
{
    char private[PATH_MAX], path[PATH_MAX], temporary[PATH_MAX], target[KEYFILE_NAME_BYTES + 16];

    snprintf(target, sizeof target, "%s%s.jwk", is_private ? "" : "../", name);
    if (!keyfile_path(private, error, "%s/private", folder) ||
        !keyfile_path(path, error, "%s/signing", private) ||
        !keyfile_path(temporary, error, "%s/.signing.%08x", private, randombytes_random()))
        return false;
    if (symlink(target, temporary) == 0 && rename(temporary, path) == 0 && sync_folder(private))
        return true;
    system_error(path, error);
    unlink(temporary);
    return false;
}

/* FNV-1a: what it sees is not chosen by an attacker. */
static uint64_t mix(uint64_t stamp, const void *data, size_t bytes)
{
    const unsigned char *at = data;

    while (bytes-- > 0)
        stamp = (stamp ^ *at++) * UINT64_C(0x100000001b3);
    return stamp;
}

static uint64_t mix_file(uint64_t stamp, int folder, const char *name)
{
    struct stat status;

    if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return stamp;
    stamp = mix(stamp, name, strlen(name));
    stamp = mix(stamp, &status.st_ino, sizeof status.st_ino);
    stamp = mix(stamp, &status.st_size, sizeof status.st_size);
    return mix(stamp, &status.st_mtim, sizeof status.st_mtim);
}

uint64_t keyfile_stamp(const char *folder)
{
    uint64_t stamp = UINT64_C(0xcbf29ce484222325), sum = 0;
    char name[KEYFILE_NAME_BYTES];
    DIR *directory = opendir(folder);
    struct dirent *entry;

    if (!directory)
        return 0;
    while ((entry = readdir(directory)) != NULL) /* in any order: so a sum */
        if (keyfile_name(entry->d_name, name))
            sum += mix_file(stamp, dirfd(directory), entry->d_name);
    sum += mix_file(stamp, dirfd(directory), "private/signing");
    closedir(directory);
    return sum;
}
