/* Loaded before libc: the n-th call of one kind that touches a path below a folder fails.

   Set from outside by REELVEC_FAULT ("folder|kind|number|errno|sticky") or in the process by
   reelvec_fault(). Of no kind: all calls are counted, and none fails. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[PATH_MAX];
static char kind[16];
static long number, sticky;
static int failure;
static const char *kinds[] = {"open", "read", "write", "fsync", "link", "unlink", "mkdir",
                              "rmdir", "rename", "list", "stat", "mmap"};
#define KINDS (sizeof kinds / sizeof kinds[0])
static atomic_long seen[KINDS];

static size_t place_of(const char *what) {
    size_t place = 0;
    while (place < KINDS && strcmp(kinds[place], what))
        place++;
    return place;
}

void reelvec_fault(const char *below, const char *what, long n, int error, long all) {
    snprintf(folder, sizeof folder, "%s", below);
    snprintf(kind, sizeof kind, "%s", what);
    number = n, failure = error, sticky = all;
    memset(seen, 0, sizeof seen);
}
long reelvec_fault_seen(const char *what) { return seen[place_of(what)]; }

__attribute__((constructor)) static void from_environment(void) {
    char *given = getenv("REELVEC_FAULT");
    if (given)
        sscanf(given, "%4095[^|]|%15[^|]|%ld|%d|%ld", folder, kind, &number, &failure, &sticky);
}

static int concerns(const char *what) {
    return folder[0] && (!kind[0] || !strcmp(what, kind));
}

static int fails(const char *what, const char *path) {
    if (!concerns(what) || !path || strncmp(path, folder, strlen(folder)))
        return 0;
    long now = ++seen[place_of(what)];
    if (!kind[0] || now < number || (now > number && !sticky))
        return 0;
    errno = failure;
    return 1;
}

static int fails_at(const char *what, int fd) {
    if (!concerns(what))
        return 0;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return fails(what, path);
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define MODE va_list list; va_start(list, flags); mode_t mode = va_arg(list, mode_t); va_end(list)

#define OPEN(name) \
    int name(const char *path, int flags, ...) { MODE; REAL(name); \
        return fails("open", path) ? -1 : real(path, flags, mode); }
#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) { MODE; REAL(name); \
        return fails("open", path) ? -1 : real(at, path, flags, mode); }
OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64)

ssize_t read(int fd, void *to, size_t size) { REAL(read); return fails_at("read", fd) ? -1 : real(fd, to, size); }
ssize_t write(int fd, const void *from, size_t size) { REAL(write); return fails_at("write", fd) ? -1 : real(fd, from, size); }
#define PREAD(name, off) ssize_t name(int fd, void *to, size_t size, off at) { REAL(name); return fails_at("read", fd) ? -1 : real(fd, to, size, at); }
#define PWRITE(name, off) ssize_t name(int fd, const void *from, size_t size, off at) { REAL(name); return fails_at("write", fd) ? -1 : real(fd, from, size, at); }
PREAD(pread, off_t) PREAD(pread64, off64_t) PWRITE(pwrite, off_t) PWRITE(pwrite64, off64_t)

int fsync(int fd) { REAL(fsync); return fails_at("fsync", fd) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return fails_at("fsync", fd) ? -1 : real(fd); }
int link(const char *from, const char *to) { REAL(link); return fails("link", to) ? -1 : real(from, to); }
int linkat(int a, const char *from, int b, const char *to, int flags) { REAL(linkat); return fails("link", to) ? -1 : real(a, from, b, to, flags); }
int unlink(const char *path) { REAL(unlink); return fails("unlink", path) ? -1 : real(path); }
int unlinkat(int at, const char *path, int flags) { REAL(unlinkat); return fails("unlink", path) ? -1 : real(at, path, flags); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); return fails("mkdir", path) ? -1 : real(path, mode); }
int rmdir(const char *path) { REAL(rmdir); return fails("rmdir", path) ? -1 : real(path); }
int rename(const char *from, const char *to) { REAL(rename); return fails("rename", to) ? -1 : real(from, to); }
DIR *opendir(const char *path) { REAL(opendir); return fails("list", path) ? NULL : real(path); }
int stat(const char *path, struct stat *to) { REAL(stat); return fails("stat", path) ? -1 : real(path, to); }
int stat64(const char *path, struct stat64 *to) { REAL(stat64); return fails("stat", path) ? -1 : real(path, to); }
int fstatat(int at, const char *path, struct stat *to, int flags) { REAL(fstatat); return fails("stat", path) ? -1 : real(at, path, to, flags); }
int fstatat64(int at, const char *path, struct stat64 *to, int flags) { REAL(fstatat64); return fails("stat", path) ? -1 : real(at, path, to, flags); }
void *mmap(void *hint, size_t size, int protection, int flags, int fd, off_t at) { REAL(mmap); return fd >= 0 && fails_at("mmap", fd) ? MAP_FAILED : real(hint, size, protection, flags, fd, at); }
void *mmap64(void *hint, size_t size, int protection, int flags, int fd, off64_t at) { REAL(mmap64); return fd >= 0 && fails_at("mmap", fd) ? MAP_FAILED : real(hint, size, protection, flags, fd, at); }
