/* LD_PRELOAD: what a power cut would leave of some files, and faults of their disk.

   FAULTS_DIR: files below it are watched. FAULTS_SHADOW: a folder that holds, per inode, what was synced. Its file `control` is an array of
   64-bit numbers: 0 milliseconds that a sync takes, 1 errno of every write (0 = none), 2 errno of every sync; 8 syncs so far, 9 bytes written. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define FDS 1024
#define RANGES 65536

struct range { ino_t inode; off_t at; size_t size; };
static struct range ranges[RANGES];
static int used, overflow;
static char state[FDS]; /* 0 unknown, 1 watched, 2 not */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static volatile uint64_t *control;
static const char *folder, *shadow;

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_fsync)(int), (*real_fdatasync)(int), (*real_ftruncate)(int, off_t), (*real_close)(int);

__attribute__((constructor)) static void begin(void) {
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_close = dlsym(RTLD_NEXT, "close");
    folder = getenv("FAULTS_DIR");
    shadow = getenv("FAULTS_SHADOW");
    if (!folder || !shadow) return;
    char path[4096];
    snprintf(path, sizeof path, "%s/control", shadow);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || real_ftruncate(fd, 4096)) return;
    void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    real_close(fd);
    if (map != MAP_FAILED) control = map;
}

static int watched(int fd) {
    if (!control || fd < 3 || fd >= FDS) return 0;
    if (!state[fd]) {
        char link[64], path[4096];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t size = readlink(link, path, sizeof path - 1);
        path[size > 0 ? size : 0] = 0;
        char *end = strstr(path, "-shm");
        state[fd] = !strncmp(path, folder, strlen(folder)) && strstr(path, ".db") && !end ? 1 : 2;
    }
    return state[fd] == 1;
}

static void note(int fd, off_t at, size_t size) {
    struct stat info;
    if (fstat(fd, &info)) return;
    pthread_mutex_lock(&lock);
    __atomic_add_fetch(&control[9], size, __ATOMIC_SEQ_CST);
    if (used < RANGES) ranges[used++] = (struct range){info.st_ino, at, size};
    else overflow = 1;
    pthread_mutex_unlock(&lock);
}

static void keep(int fd) {
    struct stat info;
    char path[4096], buffer[65536];
    if (fstat(fd, &info)) return;
    snprintf(path, sizeof path, "%s/%lu", shadow, (unsigned long)info.st_ino);
    pthread_mutex_lock(&lock);
    int copy = open(path, O_RDWR | O_CREAT, 0600), left = 0;
    for (int i = 0; i < used; i++) {
        if (ranges[i].inode != info.st_ino) { ranges[left++] = ranges[i]; continue; }
        off_t at = ranges[i].at, end = at + (off_t)ranges[i].size;
        while (at < end) {
            size_t want = end - at < (off_t)sizeof buffer ? (size_t)(end - at) : sizeof buffer;
            ssize_t got = pread(fd, buffer, want, at);
            if (got <= 0) break;
            if (real_pwrite(copy, buffer, got, at) != got) abort();
            at += got;
        }
    }
    used = left;
    if (overflow) abort();
    if (real_ftruncate(copy, info.st_size)) abort();
    real_close(copy);
    pthread_mutex_unlock(&lock);
}

static int synced(int fd, int (*real)(int)) {
    if (!watched(fd)) return real(fd);
    __atomic_add_fetch(&control[8], 1, __ATOMIC_SEQ_CST);
    if (control[0]) {
        struct timespec time = {control[0] / 1000, (control[0] % 1000) * 1000000L};
        nanosleep(&time, NULL);
    }
    if (control[2]) { errno = control[2]; return -1; }
    int result = real(fd);
    if (!result) keep(fd);
    return result;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) {
    if (!watched(fd)) return real_pwrite(fd, data, size, at);
    if (control[1]) { errno = control[1]; return -1; }
    ssize_t done = real_pwrite(fd, data, size, at);
    if (done > 0) note(fd, at, done);
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }

ssize_t write(int fd, const void *data, size_t size) {
    if (!watched(fd)) return real_write(fd, data, size);
    if (control[1]) { errno = control[1]; return -1; }
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t done = real_write(fd, data, size);
    if (done > 0) note(fd, at, done);
    return done;
}

int fsync(int fd) { return synced(fd, real_fsync); }
int fdatasync(int fd) { return synced(fd, real_fdatasync); }
int ftruncate64(int fd, off_t size) { return watched(fd) && control[1] ? (errno = control[1], -1) : real_ftruncate(fd, size); }
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
int close(int fd) {
    if (fd >= 0 && fd < FDS) state[fd] = 0;
    return real_close(fd);
}
