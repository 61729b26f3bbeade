/* A library to preload: below one folder, the N-th call that the system is asked for fails, once.

   cc -shared -fPIC -O1 -o failing.so failing.c -ldl

   Calls are counted from failing_begin to failing_end, which returns how many there were; failing_kinds has a letter for
   each of them. Nothing outside the folder is counted or fails. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define MOST 65536

static atomic_int armed, seen;
static int target, wanted;
static char root[4096];
char failing_kinds[MOST];

void failing_begin(const char *folder, int number, int error) {
    snprintf(root, sizeof root, "%s", folder);
    target = number;
    wanted = error;
    atomic_store(&seen, 0);
    memset(failing_kinds, 0, sizeof failing_kinds);
    atomic_store(&armed, 1);
}

int failing_end(void) {
    atomic_store(&armed, 0);
    return atomic_load(&seen);
}

static int below(int dirfd, const char *path) {
    char whole[8192] = "";
    if (path == NULL || path[0] != '/') {
        char link[64];
        ssize_t size = 0;
        if (dirfd == AT_FDCWD)
            size = getcwd(whole, 4096) ? (ssize_t)strlen(whole) : 0;
        else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
            size = readlink(link, whole, 4095);
        }
        if (size < 0)
            size = 0;
        whole[size] = 0;
        if (path != NULL)
            snprintf(whole + size, sizeof whole - size, "/%s", path);
    } else
        snprintf(whole, sizeof whole, "%s", path);
    return strncmp(whole, root, strlen(root)) == 0;
}

static int fails(int dirfd, const char *path, char kind) {
    if (!atomic_load(&armed))
        return 0;
    int kept = errno;
    int counts = below(dirfd, path);
    errno = kept;
    if (!counts)
        return 0;
    int number = atomic_fetch_add(&seen, 1);
    if (number < MOST)
        failing_kinds[number] = kind;
    if (number != target)
        return 0;
    errno = wanted;
    return 1;
}

#define REAL(result, name, ...) \
    static result (*real)(__VA_ARGS__); \
    if (real == NULL) \
        real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, #name, const char *, int, ...); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        return fails(AT_FDCWD, path, flags & O_CREAT ? 'c' : 'o') ? -1 : real(path, flags, mode); \
    }
#define OPENAT(name) \
    int name(int dirfd, const char *path, int flags, ...) { \
        REAL(int, #name, int, const char *, int, ...); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        return fails(dirfd, path, flags & O_CREAT ? 'c' : 'o') ? -1 : real(dirfd, path, flags, mode); \
    }
#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) { \
        REAL(FILE *, #name, const char *, const char *); \
        return fails(AT_FDCWD, path, mode[0] == 'r' ? 'o' : 'c') ? NULL : real(path, mode); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
FOPEN(fopen)
FOPEN(fopen64)

#define ON_HANDLE(result, name, kind, parameters, arguments, ...) \
    result name parameters { \
        REAL(result, #name, __VA_ARGS__); \
        return fails(fd, NULL, kind) ? -1 : real arguments; \
    }
ON_HANDLE(ssize_t, read, 'r', (int fd, void *to, size_t n), (fd, to, n), int, void *, size_t)
ON_HANDLE(ssize_t, write, 'w', (int fd, const void *from, size_t n), (fd, from, n), int, const void *, size_t)
ON_HANDLE(ssize_t, pread, 'r', (int fd, void *to, size_t n, off_t at), (fd, to, n, at), int, void *, size_t, off_t)
ON_HANDLE(ssize_t, pread64, 'r', (int fd, void *to, size_t n, off_t at), (fd, to, n, at), int, void *, size_t, off_t)
ON_HANDLE(int, fsync, 's', (int fd), (fd), int)
ON_HANDLE(int, fdatasync, 's', (int fd), (fd), int)
ON_HANDLE(int, ftruncate, 't', (int fd, off_t n), (fd, n), int, off_t)
ON_HANDLE(int, ftruncate64, 't', (int fd, off_t n), (fd, n), int, off_t)
ON_HANDLE(int, flock, 'l', (int fd, int how), (fd, how), int, int)

size_t fwrite(const void *from, size_t size, size_t n, FILE *to) {
    REAL(size_t, "fwrite", const void *, size_t, size_t, FILE *);
    return fails(fileno(to), NULL, 'w') ? 0 : real(from, size, n, to);
}

int posix_fallocate(int fd, off_t at, off_t n) {
    REAL(int, "posix_fallocate", int, off_t, off_t);
    return fails(fd, NULL, 't') ? errno : real(fd, at, n);
}

int posix_fallocate64(int fd, off_t at, off_t n) {
    REAL(int, "posix_fallocate64", int, off_t, off_t);
    return fails(fd, NULL, 't') ? errno : real(fd, at, n);
}

int close(int fd) {
    REAL(int, "close", int);
    int writes = atomic_load(&armed) && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
    int failed = writes && fails(fd, NULL, 'z'), found = real(fd);
    if (failed)
        errno = wanted;
    return failed ? -1 : found;
}

#define MAP(name) \
    void *name(void *at, size_t n, int how, int flags, int fd, off_t from) { \
        REAL(void *, #name, void *, size_t, int, int, int, off_t); \
        return fd >= 0 && fails(fd, NULL, 'p') ? MAP_FAILED : real(at, n, how, flags, fd, from); \
    }
MAP(mmap)
MAP(mmap64)

#define ON_PATH(name, kind) \
    int name(const char *path) { \
        REAL(int, #name, const char *); \
        return fails(AT_FDCWD, path, kind) ? -1 : real(path); \
    }
ON_PATH(unlink, 'u')
ON_PATH(rmdir, 'u')

int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t);
    return fails(AT_FDCWD, path, 'm') ? -1 : real(path, mode);
}

int unlinkat(int dirfd, const char *path, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    return fails(dirfd, path, 'u') ? -1 : real(dirfd, path, flags);
}

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    return fails(AT_FDCWD, from, 'n') ? -1 : real(from, to);
}

int chmod(const char *path, mode_t mode) {
    REAL(int, "chmod", const char *, mode_t);
    return fails(AT_FDCWD, path, 'k') ? -1 : real(path, mode);
}

#define STAT(name, kept) \
    int name(const char *path, struct kept *found) { \
        REAL(int, #name, const char *, struct kept *); \
        return fails(AT_FDCWD, path, 'x') ? -1 : real(path, found); \
    }
STAT(stat, stat)
STAT(lstat, stat)
STAT(stat64, stat64)
STAT(lstat64, stat64)

#define STATAT(name, kept) \
    int name(int dirfd, const char *path, struct kept *found, int flags) { \
        REAL(int, #name, int, const char *, struct kept *, int); \
        return fails(dirfd, path, 'x') ? -1 : real(dirfd, path, found, flags); \
    }
STATAT(fstatat, stat)
STATAT(fstatat64, stat64)

DIR *opendir(const char *path) {
    REAL(DIR *, "opendir", const char *);
    return fails(AT_FDCWD, path, 'd') ? NULL : real(path);
}

DIR *fdopendir(int fd) {
    REAL(DIR *, "fdopendir", int);
    return fails(fd, NULL, 'd') ? NULL : real(fd);
}
