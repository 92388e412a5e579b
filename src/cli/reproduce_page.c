/* The page of `reproduce`: one HTML file with everything inside, without scripts. */
#include "cli/outdir.h"
#include "cli/reproduce.h"

#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char style[] =
    "body{font:1rem/1.5 system-ui,sans-serif;color:#1a1a1a;background:#fff;max-width:56rem;"
    "margin:0 auto;padding:1rem}\n"
    "h1{font-size:1.7rem;line-height:1.2}h2{font-size:1.3rem;margin-top:2.5rem;border-bottom:2px "
    "solid #1a1a1a}h3{font-size:1.1rem;margin:0 0 .4rem}\n"
    "p,dd{max-width:44rem;margin:.4rem 0}a{color:#004b87}\n"
    ".skip{position:absolute;left:-99rem}.skip:focus{left:1rem}\n"
    "table{border-collapse:collapse;width:100%;font-size:.93rem}\n"
    "th,td{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0;border-bottom:1px solid "
    "#ccc}caption{text-align:left;color:#444;padding:.3rem 0}\n"
    "tbody "
    "th{font-weight:400}td.n{font-variant-numeric:tabular-nums;white-space:nowrap;font-weight:600}."
    "w{white-space:nowrap}\n"
    ".v{display:inline-block;border:2px solid;border-radius:.3rem;padding:0 .45rem;font-weight:600;"
    "font-size:.85rem;white-space:nowrap;background:#fff}\n"
    ".v1{color:#00624a}.v2{color:#7a5200}.v3{color:#a3230f}.v0{color:#555;border-style:dashed}\n"
    "section.c{border:1px solid #bbb;border-left-width:.5rem;border-radius:.3rem;padding:.8rem "
    "1rem;"
    "margin:1.2rem 0;break-inside:avoid}\n"
    "section.c1{border-left-color:#00826a}section.c2{border-left-color:#d29a00}section.c3{"
    "border-left-color:#c8391f}section.c0{border-left-color:#999}\n"
    "blockquote{margin:.3rem 0 .6rem;padding-left:.8rem;border-left:3px solid #ccc;"
    "font-style:italic}cite{font-style:normal;color:#555}\n"
    ".s{color:#444;font-size:.93rem}svg.scale{width:100%;max-width:34rem;height:auto;display:block}"
    ".scale text{font-size:13px}"
    "\n"
    "figure{margin:1.5rem 0;overflow-x:auto}figcaption{color:#333;font-size:.93rem;max-width:44rem;"
    "position:sticky;left:0}img{max-width:100%;height:auto}\n"
    "ul.k{list-style:none;padding:0}ul.k li{display:inline-block;margin:0 1rem .4rem 0}\n"
    "@media(max-width:40rem){body{padding:.7rem}.scale "
    "text{font-size:20px}th,td{padding-right:.4rem}figure.wide "
    "img{max-width:"
    "none;width:44rem}\n"
    ".t thead{position:absolute;left:-99rem}.t tr{display:block;padding:.5rem 0;border-bottom:1px "
    "solid #ccc}.t td,.t th{display:block;border:0;padding:.05rem 0;white-space:normal}}\n"
    "@media print{html{font-size:9pt}body{max-width:none}a{color:inherit;text-decoration:none}"
    ".skip{display:none}figure{overflow:visible;break-inside:avoid}img{max-height:24cm;width:auto}}"
    "\n";

static void badge(kh_text *html, kh_verdict verdict) {
    static const char *const marks[] = {"–", "✓", "≈", "✗"};
    kh_text_addf(html, "<span class=\"v v%d\"><span aria-hidden=\"true\">%s </span>%s</span>",
                 (int)verdict, marks[verdict], kh_verdict_name(verdict));
}

/* ---- the top --------------------------------------------------------------------------------- */

static void add_counts(kh_text *html, const kh_reproduce *r) {
    static const kh_verdict order[] = {KH_VERDICT_REPRODUCED, KH_VERDICT_MIXED, KH_VERDICT_NOT,
                                       KH_VERDICT_UNTESTED};
    kh_text_add(html, "<ul class=\"k\">");
    for (size_t v = 0; v < 4; v++) {
        size_t count = 0;
        for (size_t i = 0; i < KH_CLAIMS; i++)
            count += r->claims[i].verdict == order[v];
        kh_text_addf(html, "<li>%zu ", count);
        badge(html, order[v]);
        kh_text_add(html, "</li>");
    }
    kh_text_add(html, "</ul>\n");
}

static void add_head(kh_text *html, const kh_reproduce *r) {
    kh_text_add(
        html, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>"
              "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>");
    kh_html_addf(html, "Claims about MLP layers, tested on %s", r->settings->model);
    kh_text_addf(html, "</title>\n<style>\n%s</style></head><body>\n", style);
    kh_text_add(html, "<a class=\"skip\" href=\"#claims\">To the claims</a><header><h1>");
    kh_html_addf(html,
                 "Seventeen claims about the MLP layers of a Vision Transformer, tested on “%s”",
                 r->settings->model);
    kh_text_add(html, "</h1>\n<p>");
    kh_html_addf(html,
                 "A report of 2024, “Interpretability of MLP Layers in Vision Transformers”, reads "
                 "each MLP as a memory: a key neuron fires on a pattern, and its value vector is "
                 "what it then writes. It says seventeen things about one model that can be "
                 "measured. Here they are measured on another (%s): %zu blocks of %zu neurons, %zu "
                 "classes, %zu image%s (%zu labelled).",
                 r->info->architecture, r->info->blocks, r->info->neurons, r->info->classes,
                 kh_source_count(r->source), KH_S(kh_source_count(r->source)), r->labelled);
    kh_text_add(html, "</p>\n");
    add_counts(html, r);
    kh_text_add(html, "</header><main>\n");
}

static void add_overview(kh_text *html, const kh_reproduce *r) {
    kh_text_add(html, "<h2 id=\"overview\">At a glance</h2>\n<table class=\"t\"><caption>The first "
                      "number of every claim, with its 95 % interval; more about each below."
                      "</caption><thead><tr><th scope=\"col\">Claim</th><th scope=\"col\">Measured"
                      "</th><th scope=\"col\">Verdict</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < KH_CLAIMS; i++) {
        const kh_claim *claim = &r->claims[i];
        const kh_claim_text *text = &kh_claim_texts[i];
        kh_text_addf(html, "<tr><th scope=\"row\"><a href=\"#%s\">%s</a> ", text->id, text->id);
        kh_html_add(html, text->claim);
        kh_text_add(html, "</th><td>");
        if (claim->number_count) {
            char value[160];
            kh_claim_number_text(&claim->numbers[0], value, sizeof value);
            kh_html_addf(html, "%s: ", claim->numbers[0].name);
            kh_text_add(html, "<b class=\"w\">");
            kh_html_add(html, value);
            kh_text_add(html, "</b>");
        }
        kh_text_add(html, "</td><td>");
        badge(html, claim->verdict);
        kh_text_add(html, "</td></tr>\n");
    }
    kh_text_add(html, "</tbody></table>\n");
    kh_text_addf(
        html,
        "<h2 id=\"how\">How to read this</h2>\n"
        "<p><strong>Aligned</strong> and <strong>active</strong> are two things. The best aligned "
        "(“top-1”) neuron of a class is found from the weights: its value vector speaks for the "
        "class most. Whether it fires on the class’s images, and whether it matters, are questions "
        "of their own.</p>\n"
        "<p>Every claim has a rule that was fixed before anything was measured. "
        "<em>Reproduced</em>: "
        "the effect is beyond chance and as large as the claim’s words say. <em>Mixed</em>: beyond "
        "chance but smaller, or one half of a double claim. <em>Not reproduced</em>: no different "
        "from chance, or the other way round. The rules and why each bar lies where it does are in "
        "keyhole’s docs/analyses/claims.md.</p>\n"
        "<p>Brackets are 95 %% intervals over classes (or images, where it says so). They tell how "
        "much a number would move with other classes of this kind, not with another training of "
        "the model, and other pictures can move it by more: every claim says what its interval "
        "draws. In the scales, the dot is the value, the thick line its interval, the dashed line "
        "chance, the solid line the bar.</p>\n"
        "<p>The report’s model has 12 blocks counted from 0, and its “block 10” is the last but "
        "one: "
        "here block %zu. “Later blocks” are the last third, from block %zu on.</p>\n",
        r->info->blocks >= 2 ? r->info->blocks - 2 : 0, kh_claim_later(r->info->blocks));
}

/* ---- one claim ------------------------------------------------------------------------------- */

/* A line with an interval, a value, chance and a bar on it. */
typedef struct scale {
    double low, high, unit; /* ends of the line; 100 for percent */
    const char *sign;       /* "" or " %" */
} scale;

static double place(const scale *s, double value) {
    return 20 + 480 * (value - s->low) / (s->high - s->low);
}

/* From 0 where nothing is below it; percents to 100. */
static bool scale_of(const kh_claim *claim, scale *out) {
    const kh_claim_number *n = &claim->numbers[0];
    if (!claim->number_count || isnan(n->band.mean) || isnan(n->band.lo)) return false;
    const bool is_percent = strcmp(n->unit, "%") == 0;
    /* fmin and fmax leave NaN out */
    double low = fmin(fmin(n->band.lo, 0), fmin(claim->chance, claim->bar));
    double high = fmax(fmax(n->band.hi, 0), fmax(claim->chance, claim->bar));
    const double pad = 0.08 * (high - low);
    if (low < 0) low -= pad;
    if (high > 0) high += pad;
    if (is_percent) low = 0;
    if (is_percent) high = 1;
    *out = (scale){low, high, is_percent ? 100 : 1, is_percent ? " %" : ""};
    return high > low;
}

static void add_mark(kh_text *html, const scale *s, double value, const char *colour,
                     const char *dashes, double text_y, const char *text) {
    if (isnan(value)) return;
    const double x = place(s, value), text_x = fmin(fmax(x, 80), 440);
    kh_text_addf(html,
                 "<path d=\"M%.1f 16V44\" stroke=\"%s\" stroke-width=\"2\"%s/><text x=\"%.1f\" "
                 "y=\"%.0f\" font-size=\"13\" text-anchor=\"middle\" fill=\"%s\">%s</text>",
                 x, colour, dashes, text_x, text_y, colour, text);
}

static void add_scale(kh_text *html, const kh_claim *claim) {
    const kh_band b = claim->numbers[0].band;
    scale s;
    char bar[48], chance[48];
    if (!scale_of(claim, &s)) return;
    kh_text_add(html, "<svg class=\"scale\" viewBox=\"0 -8 520 78\" role=\"img\" aria-label=\"");
    kh_html_addf(html, "value %.3g, interval %.3g to %.3g", b.mean * s.unit, b.lo * s.unit,
                 b.hi * s.unit);
    kh_text_addf(html,
                 "\"><path d=\"M20 30H500\" stroke=\"#bbb\" stroke-width=\"2\"/><path d=\"M%.1f "
                 "30H%.1f\" stroke=\"#1a1a1a\" stroke-width=\"7\"/><circle cx=\"%.1f\" cy=\"30\" "
                 "r=\"8\" fill=\"#004b87\" stroke=\"#fff\" stroke-width=\"2\"/>",
                 place(&s, b.lo), place(&s, b.hi), place(&s, b.mean));
    (void)snprintf(chance, sizeof chance, "chance %.2g%s", claim->chance * s.unit, s.sign);
    (void)snprintf(bar, sizeof bar, "bar %.3g%s", claim->bar * s.unit, s.sign);
    add_mark(html, &s, claim->chance, "#444", " stroke-dasharray=\"3 3\"", 12, chance);
    add_mark(html, &s, claim->bar, "#a3230f", "", 58, bar);
    const double ends[] = {s.low, s.high};
    for (size_t i = 0; i < 2; i++)
        if (isnan(claim->bar) || fabs(place(&s, claim->bar) - place(&s, ends[i])) > 90)
            kh_text_addf(html,
                         "<text x=\"%.0f\" y=\"58\" font-size=\"13\" text-anchor=\"%s\" "
                         "fill=\"#444\">%.*g%s</text>",
                         i ? 518.0 : 2.0, i ? "end" : "start", s.unit > 1 ? 3 : 2, ends[i] * s.unit,
                         i ? s.sign : "");
    kh_text_add(html, "</svg>\n");
}

static void add_numbers(kh_text *html, const kh_claim *claim) {
    if (!claim->number_count) return;
    kh_text_add(html,
                "<table class=\"t\"><thead><tr><th scope=\"col\">Number</th><th scope=\"col\">"
                "Value [95 %]</th><th scope=\"col\">Interval</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < claim->number_count; i++) {
        const kh_claim_number *n = &claim->numbers[i];
        char value[160];
        kh_claim_number_text(n, value, sizeof value);
        kh_text_add(html, "<tr><th scope=\"row\">");
        kh_html_add(html, n->name);
        kh_text_add(html, "</th><td class=\"n\">");
        kh_html_add(html, value);
        kh_text_add(html, "</td><td>");
        if (n->n && isnan(n->band.lo))
            kh_html_addf(html, "no interval, n = %zu", n->n);
        else if (n->n)
            kh_html_addf(html, "%s, n = %zu", n->interval, n->n);
        else
            kh_text_add(html, "no interval");
        kh_text_add(html, "</td></tr>\n");
    }
    kh_text_add(html, "</tbody></table>\n");
}

static void add_line(kh_text *html, const char *word, const char *text) {
    if (!*text) return;
    kh_text_addf(html, "<p class=\"s\"><strong>%s</strong> ", word);
    kh_html_add(html, text);
    kh_text_add(html, "</p>\n");
}

static void add_claim(kh_text *html, const kh_reproduce *r, size_t i) {
    const kh_claim *claim = &r->claims[i];
    const kh_claim_text *text = &kh_claim_texts[i];
    kh_text_addf(html, "<section class=\"c c%d\" id=\"%s\"><h3>%s ", (int)claim->verdict, text->id,
                 text->id);
    badge(html, claim->verdict);
    kh_text_add(html, "</h3>\n<blockquote>");
    kh_html_add(html, text->claim);
    kh_text_add(html, " <cite>(");
    kh_html_add(html, text->source);
    kh_text_add(html, ")</cite></blockquote>\n");
    if (claim->verdict == KH_VERDICT_UNTESTED && *claim->missing)
        add_line(html, "Why not.", claim->missing);
    if (*claim->found) {
        kh_text_add(html, "<p>");
        kh_html_add(html, claim->found);
        kh_text_add(html, "</p>\n");
    }
    add_scale(html, claim);
    add_numbers(html, claim);
    add_line(html, "Test.", text->test);
    add_line(html, "Setting.", claim->setting);
    add_line(html, "What the number cannot say.", text->limit);
    kh_text_add(html, "</section>\n");
}

/* ---- goldens and receipts -------------------------------------------------------------------- */

static void add_goldens(kh_text *html, const kh_reproduce *r) {
    static const char *const states[] = {"not compared", "✓ same", "✗ differs"};
    kh_text_add(
        html, "<h2 id=\"goldens\">Published numbers</h2>\n<p>The report’s sources printed numbers "
              "for one checkpoint, timm/vit_base_patch16_224.augreg_in21k_ft_in1k. A program that "
              "loads it as they did must find the same.</p>\n<table class=\"t\"><thead><tr><th "
              "scope=\"col\">Number</th><th scope=\"col\">Published</th><th scope=\"col\">Here"
              "</th><th scope=\"col\">State</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < KH_GOLDENS; i++) {
        kh_text_addf(html, "<tr><th scope=\"row\">G%zu ", i + 1);
        kh_html_add(html, kh_golden_texts[i]);
        kh_text_add(html, "</th><td>");
        kh_html_add(html, r->goldens[i].want);
        kh_text_add(html, "</td><td>");
        kh_html_add(html, r->goldens[i].got);
        kh_text_addf(html, "</td><td>%s</td></tr>\n", states[r->goldens[i].state]);
    }
    kh_text_add(html, "</tbody></table>\n");
}

static void add_receipts(kh_text *html, const kh_reproduce *r) {
    const kh_reproduce_settings *s = r->settings;
    kh_text_add(html,
                "<h2 id=\"receipts\">From what this was made</h2>\n<table class=\"t\"><tbody>");
#define ROW(name, ...)                                                                             \
    do {                                                                                           \
        kh_text_add(html, "<tr><th scope=\"row\">" name "</th><td>");                              \
        kh_html_addf(html, __VA_ARGS__);                                                           \
        kh_text_add(html, "</td></tr>\n");                                                         \
    } while (0)
    ROW("Command", "%s", s->command);
    ROW("Model", "%s %s, weights sha256 %s", r->info->architecture, r->info->tag,
        r->info->sha256[0] ? r->info->sha256 : "none (random)");
    ROW("Preprocessing", "%s, %zu × %zu pixels", r->info->preprocess.preset,
        r->info->preprocess.height, r->info->preprocess.width);
    ROW("Images", "%zu, of which %zu have a true class", kh_source_count(r->source), r->labelled);
    ROW("Maps", "the first %zu image%s of each class, %zu in all; %zu with a known object",
        s->per_class, KH_S(s->per_class), r->maps.images, r->maps.shown);
    ROW("Relatives", "%zu class%s: %s", r->relatives, KH_ES(r->relatives), r->relatives_name);
    ROW("Atlas", "%s%s", r->run, r->is_run_reused ? " (was complete)" : "");
    ROW("Ablation", "%s", r->ablation[0] ? r->ablation : "none");
    ROW("Seed", "%zu", s->seed);
    ROW("keyhole", "%s; rules in docs/analyses/claims.md", kh_version());
#undef ROW
    kh_text_add(html,
                "</tbody></table>\n<p>Every number is in <a href=\"claims.csv\">claims.csv</a>, "
                "the published ones in <a href=\"goldens.csv\">goldens.csv</a>; settings and "
                "verdicts for programs in <a href=\"manifest.json\">manifest.json</a>.</p>\n"
                "</main></body></html>\n");
}

kh_status kh_reproduce_write(kh_reproduce *r, kh_error *err) {
    kh_text html = {0};
    char path[KH_REPRODUCE_PATH];
    add_head(&html, r);
    add_overview(&html, r);
    kh_text_add(&html, "<h2 id=\"claims\">The claims</h2>\n");
    for (size_t i = 0; i < KH_CLAIMS; i++)
        add_claim(&html, r, i);
    kh_text_add(&html, "<h2 id=\"figures\">The report’s figures, for this model</h2>\n");
    if (r->figures.data) kh_text_add(&html, r->figures.data);
    add_goldens(&html, r);
    add_receipts(&html, r);
    kh_status status = kh_outdir_path(r->settings->out, path, sizeof path, err, "index.html");
    if (!status && (html.failed || r->figures.failed))
        status = kh_fail(err, KH_E_MEMORY, "no memory for the page");
    if (!status) status = kh_file_write(path, html.data, html.length, err);
    kh_text_clear(&html);
    return status ? status : kh_reproduce_write_tables(r, err);
}
