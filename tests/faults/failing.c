/* A library to preload: below one folder, the N-th call that the system is asked for fails, once.

   cc -shared -fPIC -O1 -o failing.so failing.c -ldl

   Calls are counted from failing_begin to failing_end, which returns how many there were; failing_kinds has a letter for
   each of them, and failing_met the path of the one that failed. What failing_watch was given hears of each call: its
   number, its letter, its path, and a number for the functions that have made it. Nothing outside the folder is counted
   or fails; nor does lseek, which asks no disk. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST 65536

static atomic_int armed, seen;
static int target, wanted;
static char root[4096];
static __thread int watching;
static void (*watcher)(int, int, const char *, unsigned long long);
char failing_kinds[MOST], failing_met[8192];

void failing_watch(void (*heard)(int, int, const char *, unsigned long long)) {
    watcher = heard;
}

void failing_begin(const char *folder, int number, int error) {
    snprintf(root, sizeof root, "%s", folder);
    target = number;
    wanted = error;
    atomic_store(&seen, 0);
    memset(failing_kinds, 0, sizeof failing_kinds);
    failing_met[0] = 0;
    atomic_store(&armed, 1);
}

int failing_end(void) {
    atomic_store(&armed, 0);
    return atomic_load(&seen);
}

static int below(int dirfd, const char *path, char *whole) {
    whole[0] = 0;
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
            snprintf(whole + size, sizeof failing_met - size, "/%s", path);
    } else
        snprintf(whole, sizeof failing_met, "%s", path);
    return strncmp(whole, root, strlen(root)) == 0;
}

/* A number for the innermost functions that lead here. */
static unsigned long long way(void) {
    void *from[10];
    unsigned long long found = 0;
    for (int i = 0, n = backtrace(from, 10); i < n; i++)
        found = (found ^ (unsigned long long)from[i]) * 1099511628211u;
    return found;
}

static int fails(int dirfd, const char *path, char kind) {
    if (!atomic_load(&armed) || watching)
        return 0;
    char whole[sizeof failing_met];
    int kept = errno;
    watching = 1; /* what this needs itself does not count */
    int counts = below(dirfd, path, whole);
    watching = 0;
    errno = kept;
    if (!counts)
        return 0;
    int number = atomic_fetch_add(&seen, 1);
    if (number < MOST)
        failing_kinds[number] = kind;
    if (watcher != NULL) {
        watching = 1;
        watcher(number, kind, whole, way());
        watching = 0;
        errno = kept;
    }
    if (number != target)
        return 0;
    memcpy(failing_met, whole, sizeof whole);
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
ON_HANDLE(ssize_t, pwrite, 'w', (int fd, const void *from, size_t n, off_t at), (fd, from, n, at), int, const void *, size_t, off_t)
ON_HANDLE(ssize_t, pwrite64, 'w', (int fd, const void *from, size_t n, off_t at), (fd, from, n, at), int, const void *, size_t, off_t)
ON_HANDLE(ssize_t, readv, 'r', (int fd, const struct iovec *to, int n), (fd, to, n), int, const struct iovec *, int)
ON_HANDLE(ssize_t, writev, 'w', (int fd, const struct iovec *from, int n), (fd, from, n), int, const struct iovec *, int)
ON_HANDLE(ssize_t, sendfile, 'w', (int fd, int from, off_t *at, size_t n), (fd, from, at, n), int, int, off_t *, size_t)
ON_HANDLE(ssize_t, sendfile64, 'w', (int fd, int from, off_t *at, size_t n), (fd, from, at, n), int, int, off_t *, size_t)
ON_HANDLE(int, fstat, 'x', (int fd, struct stat *found), (fd, found), int, struct stat *)
ON_HANDLE(int, fstat64, 'x', (int fd, struct stat64 *found), (fd, found), int, struct stat64 *)
ON_HANDLE(int, futimens, 'i', (int fd, const struct timespec when[2]), (fd, when), int, const struct timespec *)
ON_HANDLE(int, fchmod, 'k', (int fd, mode_t mode), (fd, mode), int, mode_t)

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

#define NEXT(name, kept) \
    struct kept *name(DIR *folder) { \
        REAL(struct kept *, #name, DIR *); \
        return fails(dirfd(folder), NULL, 'e') ? NULL : real(folder); \
    }
NEXT(readdir, dirent)
NEXT(readdir64, dirent64)

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

int mkdirat(int dirfd, const char *path, mode_t mode) {
    REAL(int, "mkdirat", int, const char *, mode_t);
    return fails(dirfd, path, 'm') ? -1 : real(dirfd, path, mode);
}

int access(const char *path, int how) {
    REAL(int, "access", const char *, int);
    return fails(AT_FDCWD, path, 'x') ? -1 : real(path, how);
}

int faccessat(int dirfd, const char *path, int how, int flags) {
    REAL(int, "faccessat", int, const char *, int, int);
    return fails(dirfd, path, 'x') ? -1 : real(dirfd, path, how, flags);
}

int utimensat(int dirfd, const char *path, const struct timespec when[2], int flags) {
    REAL(int, "utimensat", int, const char *, const struct timespec *, int);
    return fails(dirfd, path, 'i') ? -1 : real(dirfd, path, when, flags);
}

int truncate(const char *path, off_t n) {
    REAL(int, "truncate", const char *, off_t);
    return fails(AT_FDCWD, path, 't') ? -1 : real(path, n);
}

ssize_t readlink(const char *path, char *to, size_t n) {
    REAL(ssize_t, "readlink", const char *, char *, size_t);
    return fails(AT_FDCWD, path, 'x') ? -1 : real(path, to, n);
}

int statvfs(const char *path, struct statvfs *found) {
    REAL(int, "statvfs", const char *, struct statvfs *);
    return fails(AT_FDCWD, path, 'x') ? -1 : real(path, found);
}

int statvfs64(const char *path, struct statvfs64 *found) {
    REAL(int, "statvfs64", const char *, struct statvfs64 *);
    return fails(AT_FDCWD, path, 'x') ? -1 : real(path, found);
}

int statx(int dirfd, const char *path, int flags, unsigned int mask, struct statx *found) {
    REAL(int, "statx", int, const char *, int, unsigned int, struct statx *);
    return fails(dirfd, path, 'x') ? -1 : real(dirfd, path, flags, mask, found);
}

#define TWO_PATHS(name) \
    int name(const char *from, const char *to) { \
        REAL(int, #name, const char *, const char *); \
        return fails(AT_FDCWD, to, 'n') ? -1 : real(from, to); \
    }
TWO_PATHS(link)
TWO_PATHS(symlink)

int renameat(int dirfd, const char *from, int fd, const char *to) {
    REAL(int, "renameat", int, const char *, int, const char *);
    return fails(dirfd, from, 'n') ? -1 : real(dirfd, from, fd, to);
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
