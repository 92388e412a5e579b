/* figure/compose.h: what the makers of whole figures share. */
#ifndef KH_FIGURE_COMPOSE_H
#define KH_FIGURE_COMPOSE_H

#include "figure/page.h"
#include "figure/ticks.h"

/* A page with the head's texts, or these where the head has none. */
kh_status kh_compose_begin(const kh_figure_head *head, const char *title, const char *subtitle,
                           kh_figure **out, kh_error *err);
/* Hands the figure out, or frees it when status says failure. */
kh_status kh_compose_end(kh_figure *figure, kh_status status, kh_figure **out);

/* printf into memory of the figure; NULL when out of memory. */
const char *kh_compose_text(kh_figure *figure, const char *format, ...) KH_PRINTF(2, 3);

#endif
