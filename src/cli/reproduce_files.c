/* claims.csv, goldens.csv and manifest.json of `reproduce`. */
#include "cli/outdir.h"
#include "cli/reproduce.h"

#include <math.h>
#include <stdio.h>

static kh_status write_claims(const kh_reproduce *r, kh_error *err) {
    static const char *const columns[] = {"claim", "verdict", "number", "value",
                                          "lo",    "hi",      "n",      "interval"};
    char path[KH_REPRODUCE_PATH];
    kh_csv *csv = NULL;
    KH_TRY(kh_outdir_path(r->settings->out, path, sizeof path, err, "claims.csv"));
    KH_TRY(kh_store_csv_open(path, columns, sizeof columns / sizeof *columns, &csv, err));
    for (size_t i = 0; i < KH_CLAIMS; i++) {
        const kh_claim *claim = &r->claims[i];
        const size_t rows = claim->number_count ? claim->number_count : 1;
        for (size_t k = 0; k < rows; k++) {
            const kh_claim_number none = {.band = {(double)NAN, (double)NAN, (double)NAN},
                                          .interval = ""};
            const kh_claim_number *n = claim->number_count ? &claim->numbers[k] : &none;
            kh_store_csv_text(csv, kh_claim_texts[i].id);
            kh_store_csv_text(csv, kh_verdict_name(claim->verdict));
            kh_store_csv_text(csv, n->name[0] ? n->name : claim->missing);
            kh_store_csv_f64(csv, n->band.mean);
            kh_store_csv_f64(csv, n->band.lo);
            kh_store_csv_f64(csv, n->band.hi);
            kh_store_csv_size(csv, n->n);
            kh_store_csv_text(csv, n->interval);
            kh_store_csv_end(csv);
        }
    }
    return kh_store_csv_close(csv, err);
}

static kh_status write_goldens(const kh_reproduce *r, kh_error *err) {
    static const char *const columns[] = {"golden", "what", "state", "published", "found"};
    static const char *const states[] = {"not compared", "same", "differs"};
    char path[KH_REPRODUCE_PATH], id[8];
    kh_csv *csv = NULL;
    KH_TRY(kh_outdir_path(r->settings->out, path, sizeof path, err, "goldens.csv"));
    KH_TRY(kh_store_csv_open(path, columns, sizeof columns / sizeof *columns, &csv, err));
    for (size_t i = 0; i < KH_GOLDENS; i++) {
        (void)snprintf(id, sizeof id, "G%zu", i + 1);
        kh_store_csv_text(csv, id);
        kh_store_csv_text(csv, kh_golden_texts[i]);
        kh_store_csv_text(csv, states[r->goldens[i].state]);
        kh_store_csv_text(csv, r->goldens[i].want);
        kh_store_csv_text(csv, r->goldens[i].got);
        kh_store_csv_end(csv);
    }
    return kh_store_csv_close(csv, err);
}

static void describe(const kh_reproduce *r, kh_manifest *m) {
    const kh_reproduce_settings *s = r->settings;
    const char *ids[KH_CLAIMS];
    kh_store_manifest_model(m, r->info);
    kh_store_manifest_text(m, "command", s->command);
    kh_store_manifest_size(m, "images.count", kh_source_count(r->source));
    kh_store_manifest_size(m, "images.labelled", r->labelled);
    kh_store_manifest_text(m, "atlas", r->run);
    kh_store_manifest_text(m, "ablation", r->ablation);
    kh_store_manifest_text(m, "label_maps", s->truth ? s->truth : "");
    kh_store_manifest_text(m, "settings.mode", "ln");
    kh_store_manifest_size(m, "settings.per_class", s->per_class);
    kh_store_manifest_size(m, "settings.draws", s->draws);
    kh_store_manifest_f64(m, "settings.percentile", s->percentile);
    kh_store_manifest_size(m, "settings.seed", s->seed);
    kh_store_manifest_text(m, "settings.relatives", r->relatives_name);
    for (size_t i = 0; i < KH_CLAIMS; i++) {
        char key[24];
        (void)snprintf(key, sizeof key, "verdicts.%s", kh_claim_texts[i].id);
        kh_store_manifest_text(m, key, kh_verdict_name(r->claims[i].verdict));
        ids[i] = kh_claim_texts[i].id;
    }
    kh_store_manifest_texts(m, "claims", ids, KH_CLAIMS);
    kh_store_manifest_file(m, "index.html", NULL, 0, "the page; opens without a network");
    kh_store_manifest_file(m, "claims.csv", NULL, 0, "every number of every claim");
    for (size_t i = 0; i < r->figure_count; i++)
        kh_outdir_list_figure(m, r->figure_files[i], "a figure of the page");
    kh_store_manifest_file(m, "goldens.csv", NULL, 0, "published numbers beside this model's");
}

kh_status kh_reproduce_write_tables(const kh_reproduce *r, kh_error *err) {
    kh_manifest *manifest = NULL;
    KH_TRY(write_claims(r, err));
    KH_TRY(write_goldens(r, err));
    KH_TRY(kh_store_manifest_create("reproduce", &manifest, err));
    describe(r, manifest);
    const kh_status status = kh_outdir_finish(r->settings->out, manifest, err);
    kh_store_manifest_free(manifest);
    return status;
}
