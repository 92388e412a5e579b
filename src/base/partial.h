/* base/partial.h: files on their way to their name, and what a kill leaves of them.
 *
 * A file that is being written is called NAME.PID.N.partial (a database NAME.PID.partial) and is
 * locked by who writes it, on any machine that sees the folder. The lock ends with the process, so
 * one that can be locked is nobody's any more. */
#ifndef KH_BASE_PARTIAL_H
#define KH_BASE_PARTIAL_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of NAME when `name` is that of a partial file, else 0. */
size_t kh_partial_base(const char *name);

/* By who has just created it: nobody takes it for a leftover while a copy of fd is open. False when
 * somebody did already: another name is needed. A file system without locks is fine. */
bool kh_partial_claim(int fd);

/* Removes it unless somebody writes it, or may: a file system without locks cannot tell. */
void kh_partial_remove(const char *path);

#endif
