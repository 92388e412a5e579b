/* Six dogs of one body plan. A breed is a row of numbers and four kinds (ears, tail, coat, muzzle);
 * one function draws all. Own units: the ground is y = 0, the dog looks to the right, its trunk is
 * centred on x = 0; lengths are about those of a dog whose trunk is 1 long. A frame maps the
 * finished layout to object coordinates.
 */
#include <math.h>

#include "diorama/limb.h"
#include "diorama/things.h"

typedef enum ear_kind {
    EAR_LONG,
    EAR_FOLDED,
    EAR_FLOPPY,
    EAR_WOOLLY,
    EAR_POINTED,
    EAR_ROSE
} ear_kind;
typedef enum tail_kind {
    TAIL_SABRE,
    TAIL_DOCKED,
    TAIL_WHIP,
    TAIL_POMPOM,
    TAIL_CURLED,
    TAIL_LOW
} tail_kind;
typedef enum coat_kind {
    COAT_SADDLE,
    COAT_WIRE,
    COAT_SMOOTH,
    COAT_CLIPPED,
    COAT_FLUFFY,
    COAT_THIN
} coat_kind;

typedef struct breed {
    double leg, length, chest;  /* height below the chest, trunk length, depth of the chest */
    double waist;               /* depth of the loin over that of the chest */
    double arch;                /* how far the loin rises above the withers */
    double limb;                /* thickness of a leg at its foot, radius */
    double neck, rise;          /* length; angle above the horizon, radians */
    double throat;              /* radius of the neck in its middle */
    double head, snout, muzzle; /* radius; length beyond the head; radius at the nose */
    double nod;                 /* usual turn of the head, nose downwards, radians */
    ear_kind ears;
    tail_kind tail;
    coat_kind coat;
} breed;

typedef struct dog {
    const breed *b;
    kh_frame frame;
    const kh_dress *dress;
    double leg, half, chest, top; /* half: of the trunk; top: y of the back */
    double head[2], nose[2], nod;
    double tail[4][2];
    double swing[4]; /* of the legs: far hind, far fore, near hind, near fore */
    double low[2], high[2];
} dog;

static void reach(dog *d, double x, double y, double r) {
    d->low[0] = fmin(d->low[0], x - r);
    d->low[1] = fmin(d->low[1], y - r);
    d->high[0] = fmax(d->high[0], x + r);
    d->high[1] = fmax(d->high[1], y + r);
}

/* A point near the head: u along the snout, v towards the throat, in head radii. */
static void at_head(const dog *d, double u, double v, double *x, double *y) {
    const double c = cos(d->nod), s = sin(d->nod), r = d->b->head;
    *x = d->head[0] + r * (u * c - v * s);
    *y = d->head[1] + r * (u * s + v * c);
}

static void lay_tail(dog *d, double wag) {
    const double x = -d->half + 0.04, y = d->top + 0.08;
    static const double shapes[6][3][2] = {
        [TAIL_SABRE] = {{-0.28, 0.02}, {-0.42, -0.25}, {-0.34, -0.62}},
        [TAIL_DOCKED] = {{-0.04, -0.1}, {-0.05, -0.2}, {-0.04, -0.32}},
        [TAIL_WHIP] = {{-0.18, 0.02}, {-0.3, -0.1}, {-0.46, -0.24}},
        [TAIL_POMPOM] = {{-0.08, -0.12}, {-0.13, -0.25}, {-0.16, -0.42}},
        [TAIL_CURLED] = {{-0.4, -0.2}, {-0.2, -0.62}, {0.16, -0.2}},
        [TAIL_LOW] = {{-0.24, 0.1}, {-0.2, 0.75}, {-0.52, 0.72}},
    };
    const double c = cos(wag), s = sin(wag);
    d->tail[0][0] = x;
    d->tail[0][1] = y;
    for (int i = 0; i < 3; i++) {
        const double *p = shapes[d->b->tail][i];
        d->tail[i + 1][0] = x + c * p[0] - s * p[1];
        d->tail[i + 1][1] = y + s * p[0] + c * p[1];
    }
    for (int i = 1; i <= 4; i++) {
        double px, py;
        kh_bezier_point((const double(*)[2])d->tail, 0.25 * i, &px, &py);
        reach(d, px, py,
              d->b->tail == TAIL_POMPOM && i == 4 ? 0.17
              : d->b->tail == TAIL_CURLED         ? 0.15
                                                  : 0.03);
    }
}

/* Chooses the pose and finds the box the dog will fill. */
static void lay_out(dog *d, kh_rng *rng) {
    const breed *b = d->b;
    d->leg = b->leg * kh_between(rng, 0.9, 1.1);
    d->half = 0.5 * b->length * kh_between(rng, 0.93, 1.07);
    d->chest = b->chest * kh_between(rng, 0.94, 1.06);
    d->top = -d->leg - d->chest;
    const double rise = b->rise + kh_between(rng, -0.3, 0.2);
    d->nod = b->nod + kh_between(rng, -0.3, 0.35);
    const double step = kh_between(rng, 0.05, 0.5);
    const bool pacing = kh_pose_chance(rng, 0.5);
    for (int i = 0; i < 4; i++) {
        const bool ahead = pacing ? i < 2 : i == 0 || i == 3;
        d->swing[i] = (ahead ? step : -step) * kh_between(rng, 0.7, 1.1);
    }
    d->low[0] = d->low[1] = d->high[0] = 0.0;
    d->high[1] = 0.0; /* the ground */
    reach(d, -d->half, d->top + b->arch, 0.0);
    reach(d, d->half, d->top, 0.0);
    d->head[0] = d->half - 0.12 + b->neck * cos(rise);
    d->head[1] = d->top + 0.12 - b->neck * sin(rise);
    reach(d, d->head[0], d->head[1], b->head);
    at_head(d, 0.4 + b->snout / b->head, 0.25, &d->nose[0], &d->nose[1]);
    reach(d, d->nose[0], d->nose[1], b->muzzle + 0.02);
    double x, y;
    if (b->ears == EAR_POINTED || b->ears == EAR_WOOLLY) {
        at_head(d, b->ears == EAR_POINTED ? -0.5 : -0.15, b->ears == EAR_POINTED ? -1.85 : -1.75,
                &x, &y);
        reach(d, x, y, 0.0);
    }
    if (b->ears == EAR_FOLDED) {
        at_head(d, 0.3, -1.4, &x, &y);
        reach(d, x, y, 0.0);
    }
    for (int i = 0; i < 4; i++) {
        const double foot = (i % 2 ? d->half - 0.14 : -d->half + 0.1) + d->leg * sin(d->swing[i]);
        reach(d, foot, -b->limb, b->limb * 1.5);
    }
    lay_tail(d, kh_between(rng, -0.2, 0.25));
    const double width = d->high[0] - d->low[0], height = d->high[1] - d->low[1];
    d->frame.scale = 2.0 / fmax(width, height);
    d->frame.x = -0.5 * d->frame.scale * (d->low[0] + d->high[0]);
    d->frame.y = 1.0;
}

static void draw_tail(const dog *d) {
    const double(*t)[2] = (const double(*)[2])d->tail;
    const kh_frame *f = &d->frame;
    cairo_t *cr = kh_frame_begin(f);
    switch (d->b->tail) {
    case TAIL_SABRE:
        kh_limb_curve(cr, t, 0.08, 0.035);
        break;
    case TAIL_DOCKED:
        kh_limb_curve(cr, t, 0.085, 0.055);
        break;
    case TAIL_WHIP:
        kh_limb_curve(cr, t, 0.07, 0.02);
        break;
    case TAIL_LOW:
        kh_limb_curve(cr, t, 0.055, 0.02);
        break;
    case TAIL_POMPOM:
        kh_limb_curve(cr, t, 0.045, 0.045);
        break;
    case TAIL_CURLED:
        kh_limb_curve(cr, t, 0.1, 0.14);
        break;
    }
    kh_frame_fill(f, KH_PART_TAIL, d->b->tail == TAIL_CURLED ? &d->dress->second : &d->dress->body);
    if (d->b->tail != TAIL_POMPOM) return;
    cr = kh_frame_begin(f);
    kh_fluff(cr, t[3][0], t[3][1], 0.17, 0.17, 7, 0.3);
    kh_frame_fill(f, KH_PART_TAIL, &d->dress->second);
}

static void draw_leg(const dog *d, int which) {
    const breed *b = d->b;
    const kh_frame *f = &d->frame;
    const bool fore = which % 2;
    const double x = fore ? d->half - 0.14 : -d->half + 0.12, r = b->limb;
    const double up = -d->leg - 0.3 * d->chest;
    const double foot_x = x + d->leg * sin(d->swing[which]) - (fore ? 0.0 : 0.05), foot_y = -r;
    const double bow = (fore ? 0.02 : -0.14) * d->leg; /* hocks point backwards */
    const double knee_x = 0.5 * (x + foot_x) + bow, knee_y = 0.5 * (up + foot_y) + 0.05 * d->leg;
    const double thigh = fore ? 1.5 * r : 1.5 * r + 0.2 * d->chest;
    cairo_t *cr = kh_frame_begin(f);
    kh_limb(cr, x + (fore ? 0.0 : 0.04), up, thigh, knee_x, knee_y, 1.1 * r);
    kh_limb(cr, knee_x, knee_y, 1.1 * r, foot_x, foot_y, r);
    kh_limb(cr, foot_x, foot_y, r, foot_x + 1.1 * r, foot_y, r);
    kh_frame_fill(f, KH_PART_LEG, &d->dress->body);
    if (b->coat != COAT_CLIPPED) return;
    cr = kh_frame_begin(f); /* pom-poms above the feet */
    kh_fluff(cr, foot_x, -0.2, 0.135, 0.14, 7, 0.2);
    kh_frame_fill(f, KH_PART_LEG, &d->dress->second);
}

static void draw_trunk(const dog *d) {
    const breed *b = d->b;
    const double h = d->half, top = d->top, chest = d->chest;
    const double loin = top + b->arch + b->waist * chest;
    cairo_t *cr = kh_frame_begin(&d->frame);
    if (b->coat == COAT_FLUFFY) {
        kh_spikes(cr, 0.0, top + 0.5 * chest, h + 0.12, 0.66 * chest, 14, 0.14, 0.1);
    } else {
        const double outline[][2] = {
            {-h, top + 0.24},
            {-h + 0.1, top + 0.03},
            {-0.35 * h, top + b->arch},
            {0.3 * h, top + 0.01},
            {h - 0.1, top},
            {h, top + 0.25 * chest},
            {h - 0.02, top + 0.7 * chest},
            {0.65 * h, top + chest},
            {0.15 * h, top + 0.96 * chest - 0.3 * (1.0 - b->waist) * chest},
            {-0.4 * h, loin},
            {-0.75 * h, loin + 0.03},
            {-h + 0.02, top + 0.6 * chest}};
        kh_smooth(cr, outline, sizeof outline / sizeof *outline);
    }
    kh_frame_fill(&d->frame, KH_PART_BODY, &d->dress->body);
    if (b->coat == COAT_SADDLE) {
        cr = kh_frame_begin(&d->frame);
        const double saddle[][2] = {{-0.8 * h, top + 0.02},        {0.0, top + 0.005},
                                    {0.65 * h, top + 0.01},        {0.55 * h, top + 0.45 * chest},
                                    {-0.1 * h, top + 0.6 * chest}, {-0.7 * h, top + 0.4 * chest}};
        kh_smooth(cr, saddle, sizeof saddle / sizeof *saddle);
        kh_frame_fill(&d->frame, KH_PART_BODY, &d->dress->second);
    }
    if (b->coat == COAT_WIRE) { /* a ragged skirt below the chest */
        cr = kh_frame_begin(&d->frame);
        cairo_move_to(cr, h, top + 0.55 * chest);
        for (int i = 0; i <= 10; i++) {
            const double x = h - 0.02 - 0.16 * h * i;
            cairo_line_to(cr, x, top + chest + (i % 2 ? 0.2 : 0.02) * chest);
        }
        cairo_line_to(cr, -0.8 * h, top + 0.7 * chest);
        cairo_close_path(cr);
        kh_frame_fill(&d->frame, KH_PART_BODY, &d->dress->second);
    }
}

static void draw_ear(const dog *d, bool near) {
    const double r = d->b->head;
    double p[4][2];
    cairo_t *cr = kh_frame_begin(&d->frame);
    const double shift = near ? 0.0 : 0.45;
    switch (d->b->ears) {
    case EAR_LONG: /* hangs below the jaw whatever the head does */
    case EAR_FLOPPY: {
        const double drop = d->b->ears == EAR_LONG ? 2.7 : 1.75,
                     wide = d->b->ears == EAR_LONG ? 0.5 : 0.42;
        at_head(d, -0.25 + shift, -0.6, &p[0][0], &p[0][1]);
        kh_limb(cr, p[0][0], p[0][1], 0.25 * r, p[0][0] - 0.3 * r, p[0][1] + (drop - wide) * r,
                wide * r);
        break;
    }
    case EAR_FOLDED: /* a small flap tipping forward over the brow */
        at_head(d, -0.55 + shift, -0.75, &p[0][0], &p[0][1]);
        at_head(d, 0.05 + shift, -1.4, &p[1][0], &p[1][1]);
        at_head(d, 0.6 + shift, -0.45, &p[2][0], &p[2][1]);
        kh_easel_polygon(d->frame.easel, (const double(*)[2])p, 3);
        break;
    case EAR_WOOLLY:
        at_head(d, -0.35 + shift, 0.45, &p[0][0], &p[0][1]);
        kh_fluff(cr, p[0][0], p[0][1], 0.75 * r, 1.1 * r, 8, 0.1);
        break;
    case EAR_POINTED:
        at_head(d, -0.95 + shift, -0.55, &p[0][0], &p[0][1]);
        at_head(d, -0.5 + shift, -1.85, &p[1][0], &p[1][1]);
        at_head(d, 0.25 + shift, -0.85, &p[2][0], &p[2][1]);
        kh_easel_polygon(d->frame.easel, (const double(*)[2])p, 3);
        break;
    case EAR_ROSE: /* small, laid back along the neck */
        at_head(d, 0.0 + 0.5 * shift, -0.75, &p[0][0], &p[0][1]);
        at_head(d, -1.9 + 0.5 * shift, -0.75, &p[1][0], &p[1][1]);
        at_head(d, -0.7 + 0.5 * shift, 0.05, &p[2][0], &p[2][1]);
        kh_easel_polygon(d->frame.easel, (const double(*)[2])p, 3);
        break;
    }
    kh_frame_fill(&d->frame, KH_PART_EAR,
                  near && d->b->coat != COAT_FLUFFY ? &d->dress->third : &d->dress->body);
}

static void draw_head(const dog *d) {
    const breed *b = d->b;
    const kh_frame *f = &d->frame;
    const double r = b->head;
    double x, y;
    cairo_t *cr = kh_frame_begin(f);
    kh_limb(cr, d->half - 0.14, d->top + 0.2, fmin(0.24, 0.5 * d->chest),
            0.5 * (d->half - 0.1 + d->head[0]), 0.5 * (d->top + 0.1 + d->head[1]), b->throat);
    kh_limb(cr, 0.5 * (d->half - 0.1 + d->head[0]), 0.5 * (d->top + 0.1 + d->head[1]), b->throat,
            d->head[0], d->head[1], 0.7 * b->throat);
    kh_frame_fill(f, KH_PART_NECK, &d->dress->body);
    if (b->coat == COAT_CLIPPED) { /* mane around chest and shoulders, pom-pom on the hip */
        cr = kh_frame_begin(f);
        kh_fluff(cr, d->half - 0.12, d->top + 0.42 * d->chest, 0.31, 0.36, 10, 0.0);
        kh_fluff(cr, -d->half + 0.14, d->top + 0.26, 0.17, 0.17, 7, 0.0);
        kh_frame_fill(f, KH_PART_BODY, &d->dress->second);
    }
    if (b->coat == COAT_FLUFFY) { /* a ruff all around the neck */
        cr = kh_frame_begin(f);
        at_head(d, -0.55, 0.75, &x, &y);
        kh_spikes(cr, x, y, 2.0 * r, 1.95 * r, 13, 0.2, 0.2);
        kh_frame_fill(f, KH_PART_NECK, &d->dress->third);
    }
    draw_ear(d, false);
    cr = kh_frame_begin(f);
    at_head(d, 0.15, 0.2, &x, &y);
    kh_limb(cr, x, y, (b->coat == COAT_WIRE ? 0.72 : 0.68) * r, d->nose[0], d->nose[1], b->muzzle);
    kh_frame_fill(f, KH_PART_SNOUT, b->coat == COAT_FLUFFY ? &d->dress->light : &d->dress->body);
    cr = kh_frame_begin(f);
    kh_easel_ellipse(f->easel, d->head[0], d->head[1], r, r);
    kh_frame_fill(f, KH_PART_HEAD, &d->dress->body);
    if (b->coat == COAT_WIRE) { /* beard and eyebrow */
        static const double beard[][2] = {{0.75, 0.3}, {0.0, 0.55}, {0.15, 1.5}, {0.5, 1.15},
                                          {0.8, 1.9},  {1.15, 1.3}, {1.5, 2.0},  {1.75, 1.3},
                                          {2.2, 1.6},  {2.25, 0.35}};
        cr = kh_frame_begin(f);
        for (size_t i = 0; i < sizeof beard / sizeof *beard; i++) {
            at_head(d, beard[i][0], beard[i][1], &x, &y);
            cairo_line_to(cr, x, y);
        }
        cairo_close_path(cr);
        kh_frame_fill(f, KH_PART_SNOUT, &d->dress->second);
    }
    if (b->ears == EAR_WOOLLY) { /* top-knot */
        cr = kh_frame_begin(f);
        at_head(d, -0.15, -0.75, &x, &y);
        kh_fluff(cr, x, y, 1.0 * r, 1.0 * r, 8, 0.0);
        kh_frame_fill(f, KH_PART_HEAD, &d->dress->second);
    }
    draw_ear(d, true);
}

static void draw_face(const dog *d) {
    const kh_frame *f = &d->frame;
    const double r = d->b->head;
    double x, y;
    at_head(d, 0.5, -0.2, &x, &y);
    (void)kh_frame_begin(f);
    kh_easel_ellipse(f->easel, x, y, 0.27 * r, 0.27 * r);
    kh_frame_fill(f, KH_PART_EYE, &d->dress->light);
    (void)kh_frame_begin(f);
    kh_easel_ellipse(f->easel, x + 0.05 * r, y, 0.17 * r, 0.17 * r);
    kh_frame_fill(f, KH_PART_EYE, &d->dress->detail);
    const double nose = fmax(0.8 * d->b->muzzle, 0.05);
    (void)kh_frame_begin(f);
    kh_easel_ellipse(f->easel, d->nose[0] + (d->b->muzzle + 0.02 - nose) * cos(d->nod),
                     d->nose[1] - 0.3 * d->b->muzzle, nose, 0.9 * nose);
    kh_frame_fill(f, KH_PART_NOSE, &d->dress->detail);
}

static void draw_dog(kh_easel *easel, const kh_dress *dress, kh_rng *rng, const breed *b) {
    dog d = {.b = b, .frame = {easel, 0.0, 0.0, 1.0}, .dress = dress};
    lay_out(&d, rng);
    const bool tail_last = b->tail == TAIL_CURLED; /* it lies over the back */
    if (!tail_last) draw_tail(&d);
    draw_leg(&d, 0);
    draw_leg(&d, 1);
    if (b->coat == COAT_CLIPPED) {
        draw_leg(&d, 2);
        draw_leg(&d, 3);
        draw_trunk(&d);
    } else {
        draw_trunk(&d);
        draw_leg(&d, 2);
        draw_leg(&d, 3);
    }
    if (tail_last) draw_tail(&d);
    draw_head(&d);
    draw_face(&d);
}

/*                            leg  length chest waist  arch  limb  neck  rise  throat head snout
 * muzzle nod */
static const breed hound = {0.48, 1.0, 0.46, 0.8,  0.02, 0.075,    0.36,       0.75,
                            0.16, 0.2, 0.3,  0.11, 0.15, EAR_LONG, TAIL_SABRE, COAT_SADDLE};
static const breed terrier = {0.34, 0.74, 0.46, 0.95, 0.0, 0.085,      0.36,        1.15,
                              0.17, 0.2,  0.32, 0.12, 0.0, EAR_FOLDED, TAIL_DOCKED, COAT_WIRE};
static const breed dachshund = {0.16, 1.42,  0.44, 0.88,  0.01, 0.085,      0.34,      0.75,
                                0.16, 0.205, 0.4,  0.065, 0.12, EAR_FLOPPY, TAIL_WHIP, COAT_SMOOTH};
static const breed poodle = {0.72, 0.84, 0.42, 0.55, 0.0, 0.05,       0.46,        1.2,
                             0.11, 0.17, 0.36, 0.05, 0.1, EAR_WOOLLY, TAIL_POMPOM, COAT_CLIPPED};
static const breed spitz = {0.28, 0.74, 0.5,  0.95, 0.0, 0.065,       0.36,        0.8,
                            0.2,  0.21, 0.25, 0.05, 0.1, EAR_POINTED, TAIL_CURLED, COAT_FLUFFY};
static const breed greyhound = {0.84,  1.08,  0.46, 0.36,  -0.06, 0.042,    0.6,      0.85,
                                0.085, 0.125, 0.36, 0.035, 0.3,   EAR_ROSE, TAIL_LOW, COAT_THIN};

void kh_draw_hound(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    draw_dog(easel, dress, rng, &hound);
}

void kh_draw_terrier(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    draw_dog(easel, dress, rng, &terrier);
}

void kh_draw_dachshund(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    draw_dog(easel, dress, rng, &dachshund);
}

void kh_draw_poodle(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    draw_dog(easel, dress, rng, &poodle);
}

void kh_draw_spitz(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    draw_dog(easel, dress, rng, &spitz);
}

void kh_draw_greyhound(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    draw_dog(easel, dress, rng, &greyhound);
}
