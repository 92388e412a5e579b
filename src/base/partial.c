#define _GNU_SOURCE /* F_OFD_SETLK */
#include "base/partial.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ".123" at the end of name[0..length): its bytes, or 0. */
static size_t number_at_end(const char *name, size_t length) {
    size_t at = length;
    while (at > 0 && name[at - 1] >= '0' && name[at - 1] <= '9')
        at--;
    return at > 0 && at < length && name[at - 1] == '.' ? length - at + 1 : 0;
}

size_t kh_partial_base(const char *name) {
    if (!kh_ends_with(name, ".partial")) return 0;
    size_t length = strlen(name) - strlen(".partial");
    const size_t last = number_at_end(name, length);
    if (last == 0) return 0;
    length -= last;
    return length - number_at_end(name, length);
}

typedef enum { LOCKED, TAKEN, NO_LOCKS } locking;

/* Of the open file, not of the process, where there is such a lock: threads count as others. */
static locking lock(int fd) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
#ifdef F_OFD_SETLK
    const int done = fcntl(fd, F_OFD_SETLK, &whole);
#else
    const int done = fcntl(fd, F_SETLK, &whole);
#endif
    if (done == 0) return LOCKED;
    return errno == EAGAIN || errno == EACCES ? TAKEN : NO_LOCKS;
}

bool kh_partial_claim(int fd) {
    struct stat info;
    return lock(fd) != TAKEN && fstat(fd, &info) == 0 && info.st_nlink > 0;
}

void kh_partial_remove(const char *path) {
    const int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return;
    if (lock(fd) == LOCKED) (void)unlink(path);
    (void)close(fd);
}
