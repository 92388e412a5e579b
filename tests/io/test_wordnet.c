/* WordNet: a small excerpt by hand, files that are none, and the real one where it is installed. */
#include "support/kh_test.h"

#include "base/alloc.h"
#include "base/file.h"
#include "io/wordnet.h"

/* Offsets and hypernyms as in WordNet 3.0; words and other pointers left out. */
static const char excerpt[] =
    "  1 This software and database ...  \n"
    "00001740 03 n 01 entity 0 001 ~ 00001930 n 0000 | all there is  \n"
    "00001930 03 n 01 physical_entity 0 001 @ 00001740 n 0000 | has existence  \n"
    "00002684 03 n 02 object 0 physical_object 0 002 @ 00001930 n 0000 + 00532607 v 0105 | thing  "
    "\n"
    "00003553 03 n 02 whole 0 unit 0 001 @ 00002684 n 0000 | an assemblage  \n"
    "00004258 03 n 02 living_thing 0 animate_thing 0 001 @ 00003553 n 0000 | a living thing  \n"
    "00004475 03 n 02 organism 0 being 0 001 @ 00004258 n 0000 | it lives  \n"
    "00015388 03 n 01 animal 0 001 @ 00004475 n 0000 | a living organism  \n"
    "00021939 03 n 02 artifact 0 artefact 0 001 @ 00003553 n 0000 | made by people  \n"
    "01317541 05 n 02 domestic_animal 0 domesticated_animal 0 001 @ 00015388 n 0000 | tame  \n"
    "01466257 05 n 01 chordate 0 001 @ 00015388 n 0000 | has a notochord  \n"
    "01471682 05 n 02 vertebrate 0 craniate 0 001 @ 01466257 n 0000 | has a skull  \n"
    "01861778 05 n 02 mammal 0 mammalian 0 001 @ 01471682 n 0000 | warm blooded  \n"
    "01886756 05 n 01 placental 0 001 @ 01861778 n 0000 | has a placenta  \n"
    "02075296 05 n 01 carnivore 0 001 @ 01886756 n 0000 | eats flesh  \n"
    "02083346 05 n 02 canine 0 canid 0 001 @ 02075296 n 0000 | dogs and others  \n"
    "02084071 05 n 01 dog 0 002 @ 02083346 n 0000 @ 01317541 n 0000 | the dog  \n"
    "02084732 05 n 01 pooch 0 001 @ 02084071 n 0000 | informal  \n"
    "02120997 05 n 02 feline 0 felid 0 001 @ 02075296 n 0000 | cats and others  \n"
    "02121620 05 n 02 cat 0 true_cat 0 001 @ 02120997 n 0000 | the cat  \n"
    "02121808 05 n 02 domestic_cat 0 house_cat 0 002 @ 02121620 n 0000 @ 01317541 n 0000 | tame  \n"
    "09000000 15 n 01 Rex 0 001 @i 02084071 n 0000 | a certain dog  \n"
    "09000001 15 n 01 island 0 000\n";

static kh_wordnet *open_text(const char *text) {
    kh_error err = {0};
    kh_wordnet *w = NULL;
    kh_assert_ok(kh_wordnet_parse(text, strlen(text), "data.noun", &w, &err));
    return w;
}

static size_t find(const kh_wordnet *w, const char *wnid) {
    size_t index;
    if (!kh_wordnet_find(w, wnid, &index)) fail_msg("no %s", wnid);
    return index;
}

static void depths_and_names_are_those_of_the_longest_way_up(void **state) {
    (void)state;
    static const struct {
        const char *wnid, *name;
        size_t depth;
    } known[] = {{"n00001740", "entity", 1},
                 {"n00001930", "physical entity", 2},
                 {"n01317541", "domestic animal", 8},
                 {"n02075296", "carnivore", 12},
                 {"n02084071", "dog", 14},
                 {"n02084732", "pooch", 15},
                 {"n02121808", "domestic cat", 15},
                 {"n09000000", "Rex", 15},
                 {"n09000001", "island", 1}};
    kh_wordnet *w = open_text(excerpt);
    size_t index;
    assert_int_equal(kh_wordnet_count(w), 22);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const kh_synset s = kh_wordnet_get(w, find(w, known[i].wnid));
        assert_string_equal(s.wnid, known[i].wnid);
        assert_string_equal(s.name, known[i].name);
        assert_int_equal(s.depth, known[i].depth);
    }
    static const char *const others[] = {"d00000001", "n0208407", "n020840711", "n02084072",
                                         "nabcdefgh", "",         NULL};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(kh_wordnet_find(w, others[i], &index));
    kh_wordnet_close(w);
}

static void what_synsets_have_in_common(void **state) {
    (void)state;
    static const struct {
        const char *wnids[3], *lowest;
    } known[] = {{{"n02084071", "n02121620"}, "n02075296"},
                 {{"n02084071", "n02121808"}, "n02075296"}, /* domestic animal is less deep */
                 {{"n02084071", "n02084732"}, "n02084071"},
                 {{"n02084071"}, "n02084071"},
                 {{"n02084732", "n09000000"}, "n02084071"},
                 {{"n02084071", "n02121808", "n01317541"}, "n01317541"},
                 {{"n02084071", "n02121808", "n00021939"}, "n00003553"},
                 {{"n02084071", "n09000001"}, NULL}};
    kh_wordnet *w = open_text(excerpt);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t of[3], count = 0, lowest = 0;
        for (; count < 3 && known[i].wnids[count]; count++)
            of[count] = find(w, known[i].wnids[count]);
        assert_int_equal(kh_wordnet_lowest(w, of, count, &lowest), known[i].lowest != NULL);
        if (known[i].lowest) assert_string_equal(kh_wordnet_get(w, lowest).wnid, known[i].lowest);
    }
    kh_wordnet_close(w);
}

/* Wu and Palmer by hand; of dog and cat it is the 0.857 that NLTK's documentation has too. */
static void likeness_by_hand(void **state) {
    (void)state;
    static const struct {
        const char *a, *b;
        double likeness;
    } known[] = {{"n02084071", "n02121620", 24.0 / 28}, {"n02084071", "n02121808", 24.0 / 29},
                 {"n02084071", "n02084732", 28.0 / 29}, {"n02084071", "n02084071", 1},
                 {"n02084071", "n00001740", 2.0 / 10},  {"n02084071", "n00021939", 8.0 / 14}};
    kh_wordnet *w = open_text(excerpt);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const size_t a = find(w, known[i].a), b = find(w, known[i].b);
        assert_float_equal(kh_wordnet_likeness(w, a, b), known[i].likeness, 1e-12);
        assert_float_equal(kh_wordnet_likeness(w, b, a), known[i].likeness, 1e-12);
    }
    assert_true(isnan(kh_wordnet_likeness(w, find(w, "n02084071"), find(w, "n09000001"))));
    kh_wordnet_close(w);
}

static void what_is_no_file_of_nouns_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
        kh_status status;
    } bad[] = {
        {"", "holds no synsets", KH_E_FORMAT},
        {"  1 This software\n", "holds no synsets", KH_E_FORMAT},
        {"0000174 03 n 01 entity 0 000\n", "line 1: expected an offset", KH_E_FORMAT},
        {"00001740 03 v 01 breathe 0 000\n", "no file of nouns", KH_E_FORMAT},
        {"00001740 03 n 00 000\n", "number of words", KH_E_FORMAT},
        {"00001740 03 n 02 entity 0\n", "a word", KH_E_FORMAT},
        {"00001740 03 n 01 ent\x01ity 0 000\n", "a word", KH_E_FORMAT},
        {"00001740 03 n 01 ent\xffity 0 000\n", "a word", KH_E_FORMAT},
        {"00001740 03 n 01 entity x 000\n", "sense number", KH_E_FORMAT},
        {"00001740 03 n 01 entity 0 0\n", "number of pointers", KH_E_FORMAT},
        {"00001740 03 n 01 entity 0 001 ~ 0000193 n 0000\n", "a pointer", KH_E_FORMAT},
        {"00001740 03 n 01 entity 0 001 @ 00001930 v 0000\n", "a noun behind", KH_E_FORMAT},
        {"00001740 03 n 01 entity 0 000 gloss\n", "a gloss", KH_E_FORMAT},
        {"00001740 03 n 01 a 0 000\n00001740 03 n 01 b 0 000\n", "line 2: expected offsets that",
         KH_E_FORMAT},
        {"00001740 03 n 01 a 0 001 @ 00001741 n 0000\n", "00001741 of 00001740 is not there",
         KH_E_FORMAT},
        {"00000001 03 n 01 a 0 001 @ 00000001 n 0000\n", "hypernym of itself", KH_E_FORMAT},
        {"00000001 03 n 01 a 0 001 @ 00000002 n 0000\n00000002 03 n 01 b 0 001 @ 00000003 n 0000\n"
         "00000003 03 n 01 c 0 001 @ 00000001 n 0000\n00000004 03 n 01 d 0 000\n",
         "hypernym of itself", KH_E_FORMAT}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kh_error err = {0};
        kh_wordnet *w;
        kh_assert_fails(kh_wordnet_parse(bad[i].text, strlen(bad[i].text), "data.noun", &w, &err),
                        bad[i].status, bad[i].part);
        assert_null(w);
    }
    kh_error err = {0};
    kh_wordnet *w;
    kh_assert_fails(kh_wordnet_open(kh_test_folder("wordnet"), NULL, &w, &err), KH_E_NOT_FOUND,
                    "data.noun");
}

static void every_failing_allocation_is_reported(void **state) {
    (void)state;
    kh_status status = KH_E_MEMORY;
    for (size_t n = 1; n < 1000 && status != KH_OK; n++) {
        kh_error err = {0};
        kh_wordnet *w;
        kh_alloc_fail_after(n);
        status = kh_wordnet_parse(excerpt, strlen(excerpt), "data.noun", &w, &err);
        kh_alloc_fail_after(0);
        if (status) assert_int_equal(status, KH_E_MEMORY);
        kh_wordnet_close(w);
    }
    assert_int_equal(status, KH_OK);
}

/* Numbers of the real file; likenesses are NLTK's. */
static void the_real_wordnet_where_it_is_installed(void **state) {
    (void)state;
    static const char folder[] = "/usr/share/wordnet";
    if (!kh_file_exists("/usr/share/wordnet/data.noun")) skip();
    kh_error err = {0};
    kh_wordnet *w;
    kh_classes *classes;
    kh_assert_ok(kh_wordnet_open(folder, NULL, &w, &err));
    assert_int_equal(kh_wordnet_count(w), 82115);
    assert_float_equal(kh_wordnet_likeness(w, find(w, "n02084071"), find(w, "n02121620")),
                       24.0 / 28, 1e-12);
    kh_assert_ok(kh_classes_imagenet1k(&classes, &err));
    for (size_t c = 0; c < 1000; c++)
        (void)find(w, kh_classes_get(classes, c).wnid);
    kh_classes_free(classes);
    kh_wordnet_close(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(depths_and_names_are_those_of_the_longest_way_up),
        cmocka_unit_test(what_synsets_have_in_common),
        cmocka_unit_test(likeness_by_hand),
        cmocka_unit_test(what_is_no_file_of_nouns_is_refused),
        cmocka_unit_test(every_failing_allocation_is_reported),
        cmocka_unit_test(the_real_wordnet_where_it_is_installed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
