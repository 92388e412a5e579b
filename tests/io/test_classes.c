/* Class lists: the built-in one, label files of every form, and looking classes up. */
#include "io/golden.h"

#include "base/alloc.h"
#include "io/classes.h"

static kh_classes *imagenet(void) {
    kh_classes *classes;
    kh_error err;
    kh_assert_ok(kh_classes_imagenet1k(&classes, &err));
    return classes;
}

/* The list of wnids is timm's, byte for byte. */
static void imagenet_wnids_have_the_known_sum(void **state) {
    (void)state;
    kh_classes *classes = imagenet();
    static char text[10001];
    assert_int_equal(kh_classes_count(classes), 1000);
    for (size_t i = 0; i < 1000; i++)
        (void)snprintf(text + 10 * i, 11, "%s\n", kh_classes_get(classes, i).wnid);
    assert_string_equal(golden_sha(text, 10000),
                        "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15");
    kh_classes_free(classes);
}

static void spot_checks(void **state) {
    (void)state;
    static const struct {
        size_t index;
        const char *wnid, *first;
    } known[] = {{0, "n01440764", "tench"},
                 {1, "n01443537", "goldfish"},
                 {207, "n02099601", "golden retriever"},
                 {281, "n02123045", "tabby"},
                 {285, "n02124075", "Egyptian cat"},
                 {340, "n02391049", "zebra"},
                 {388, "n02510455", "giant panda"},
                 {555, "n03345487", "fire engine"},
                 {724, "n03947888", "pirate"},
                 {933, "n07697313", "cheeseburger"},
                 {949, "n07745940", "strawberry"},
                 {999, "n15075141", "toilet tissue"}};
    kh_classes *classes = imagenet();
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const kh_class c = kh_classes_get(classes, known[i].index);
        assert_string_equal(c.wnid, known[i].wnid);
        assert_int_equal(strncmp(c.name, known[i].first, strlen(known[i].first)), 0);
        size_t index;
        kh_error err;
        kh_assert_ok(kh_classes_find(classes, known[i].wnid, &index, &err));
        assert_int_equal(index, known[i].index);
    }
    kh_classes_free(classes);
}

static void queries_resolve(void **state) {
    (void)state;
    static const struct {
        const char *query;
        size_t index;
    } known[] = {{"207", 207},
                 {"0", 0},
                 {"007", 7},
                 {"n02099601", 207},
                 {"golden retriever", 207},
                 {"  Golden_Retriever ", 207},
                 {"golden   retriever", 207},
                 {"tench, Tinca tinca", 0},
                 {"tinca tinca", 0},
                 {"ZEBRA", 340},
                 {"cheeseburg", 933}, /* part of one name only */
                 {"tub", 876},        /* first synonym there, a later one of 435 */
                 {"crayfish", 124},
                 {"polecat", 358},
                 {"giant panda", 388}};
    kh_classes *classes = imagenet();
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t index = 9999;
        kh_error err;
        kh_assert_ok(kh_classes_find(classes, known[i].query, &index, &err));
        assert_int_equal(index, known[i].index);
    }
    kh_classes_free(classes);
}

static void ambiguous_names_list_every_candidate(void **state) {
    (void)state;
    static const struct {
        const char *query, *first, *second;
    } known[] = {
        {"crane", "134 n02012849 'crane'", "517 n03126707 'crane'"},
        {"cardigan", "264 n02113186 'Cardigan, Cardigan Welsh corgi'", "474 n02963159 'cardigan'"},
        {"maillot", "638 n03710637 'maillot'", "639 n03710721 'maillot, tank suit'"},
        {"sand viper", "54 n", "66 n"},
        {"grass snake", "55 n", "57 n"},
        {"crawfish", "123 n", "124 n"},
        {"catamount", "286 n", "287 n"},
        {"panther", "286 n", "290 n"},
        {"panda", "387 n", "388 n"},
        {"horn", "513 n", "566 n"},
        {"Sus_scrofa", "341 n", "342 n"}};
    kh_classes *classes = imagenet();
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t index = 4321;
        kh_error err;
        const kh_status status = kh_classes_find(classes, known[i].query, &index, &err);
        kh_assert_fails(status, KH_E_ARG, known[i].first);
        kh_assert_fails(status, KH_E_ARG, known[i].second);
        kh_assert_fails(status, KH_E_ARG, "2 classes fit");
        assert_int_equal(index, 4321);
    }
    size_t index;
    kh_error err;
    const kh_status status = kh_classes_find(classes, "retrie", &index, &err);
    kh_assert_fails(status, KH_E_ARG, "205 n02099267 'flat-coated retriever'");
    kh_assert_fails(status, KH_E_ARG, "209 n02099849 'Chesapeake Bay retriever'");
    kh_assert_fails(kh_classes_find(classes, "a", &index, &err), KH_E_ARG, " more. Give an index");
    kh_classes_free(classes);
}

static void unknown_names_suggest_the_closest(void **state) {
    (void)state;
    kh_classes *classes = imagenet();
    size_t index = 4321;
    kh_error err;
    const kh_status status = kh_classes_find(classes, "goldn retreiver", &index, &err);
    kh_assert_fails(status, KH_E_NOT_FOUND,
                    "no class 'goldn retreiver'; the closest: 207 n02099601");
    size_t listed = 1;
    for (const char *p = err.text; (p = strchr(p, ';')) != NULL; p++)
        listed++;
    assert_int_equal(listed, 6); /* the sentence and five classes */
    kh_assert_fails(kh_classes_find(classes, "1000", &index, &err), KH_E_NOT_FOUND, "0..999");
    kh_assert_fails(kh_classes_find(classes, "99999999999999999999999", &index, &err),
                    KH_E_NOT_FOUND, "0..999");
    kh_assert_fails(kh_classes_find(classes, "n99999999", &index, &err), KH_E_NOT_FOUND,
                    "n99999999");
    kh_assert_fails(kh_classes_find(classes, " _ ", &index, &err), KH_E_ARG, "empty");
    kh_assert_fails(kh_classes_find(classes, "", &index, &err), KH_E_ARG, "empty");
    kh_assert_fails(kh_classes_find(classes, "zeb\x1b[31mra", &index, &err), KH_E_NOT_FOUND,
                    "zeb\\x1b[31mra");
    char text[1200];
    memset(text, 'x', sizeof text);
    text[1199] = '\0';
    kh_assert_fails(kh_classes_find(classes, text, &index, &err), KH_E_ARG, "at most 1000");
    text[900] = '\0';
    kh_assert_fails(kh_classes_find(classes, text, &index, &err), KH_E_NOT_FOUND, "the closest");
    assert_int_equal(index, 4321);
    kh_classes_free(classes);
}

/* ---- label files ----------------------------------------------------------------------------- */

static kh_error err; /* of the last parse */

static kh_status parse(const char *text, size_t size, size_t count, kh_classes **out) {
    const kh_limits limits = kh_limits_default();
    return kh_classes_parse(text, size, count, &limits, "labels", out, &err);
}

static void expect(const char *text, size_t count, const char *const (*want)[2], size_t classes) {
    kh_classes *list;
    kh_assert_ok(parse(text, strlen(text), count, &list));
    assert_int_equal(kh_classes_count(list), classes);
    for (size_t i = 0; i < classes; i++) {
        const kh_class c = kh_classes_get(list, i);
        assert_string_equal(c.name, want[i][1]);
        if (want[i][0])
            assert_string_equal(c.wnid, want[i][0]);
        else
            assert_null(c.wnid);
    }
    kh_classes_free(list);
}

static void every_form_of_label_file(void **state) {
    (void)state;
    static const char *const plain[][2] = {{NULL, "cat"}, {NULL, "big dog"}};
    static const char *const named[][2] = {{"n02099601", "golden retriever"},
                                           {"n99999999", "no such thing"}};
    static const char *const bare[][2] = {{"n02099601", "golden retriever"},
                                          {"n99999999", "n99999999"}};
    static const char *const sparse[][2] = {
        {NULL, "class_0"}, {NULL, "cat"}, {NULL, "class_2"}, {NULL, "dog"}, {NULL, "class_4"}};
    expect("cat\nbig dog\n", 2, plain, 2);
    expect("\xEF\xBB\xBF"
           "cat\r\n  big\tdog  \r\n\r\n\n",
           0, plain, 2);
    expect("cat\nbig dog", 0, plain, 2);
    expect("n02099601 golden retriever\nn99999999\tno such thing\n", 2, named, 2);
    expect("n02099601\nn99999999\n", 2, bare, 2);
    expect("{\"1\": [\"n99999999\", \"no such thing\"], \"0\": [\"n02099601\", \"golden "
           "retriever\"]}",
           2, named, 2);
    expect("{\"0\": \"cat\", \"1\": \"big dog\"}", 0, plain, 2);
    expect("[\"cat\", \"big dog\"]", 2, plain, 2);
    expect(" \n[[\"n02099601\", \"golden retriever\"], [\"n99999999\", \"no such thing\"]]", 2,
           named, 2);
    expect("{\"3\": \"dog\", \"1\": \"cat\"}", 5, sparse, 5);
    expect("{\"3\": \"dog\", \"1\": \"cat\"}", 0, sparse, 4);
    expect("{\"model_type\": \"vit\", \"id2label\": {\"0\": \"cat\", \"1\": \"big dog\"}}", 2,
           plain, 2);
    expect("{\"label_names\": [\"n02099601\", \"n99999999\"], \"label_descriptions\": "
           "{\"n02099601\": \"golden retriever\", \"n99999999\": \"no such thing\"}}",
           2, named, 2);
    expect("{\"label_names\": [\"cat\", \"big dog\"]}", 2, plain, 2);
}

static void hostile_label_files_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        kh_status status;
        const char *part;
    } cases[] = {{"", KH_E_FORMAT, "holds no labels"},
                 {"\n\n  \n", KH_E_FORMAT, "holds no labels"},
                 {"{}", KH_E_FORMAT, "holds no labels"},
                 {"[]", KH_E_FORMAT, "holds no labels"},
                 {"cat\n\ndog\n", KH_E_FORMAT, "line 2 is empty"},
                 {"cat\ndog\nmouse\n", KH_E_SHAPE, "labels has 3 labels, the model has 2 classes"},
                 {"cat\n", KH_E_SHAPE, "1 labels"},
                 {"[\"cat\"]", KH_E_SHAPE, "1 labels"},
                 {"{\"2\": \"cat\"}", KH_E_SHAPE, "labels for 3 classes, the model has 2"},
                 {"{\"0\": \"cat\", \"0\": \"dog\"}", KH_E_FORMAT, "duplicate"},
                 {"{\"00\": \"cat\"}", KH_E_FORMAT, "'00' is not a class index"},
                 {"{\"-1\": \"cat\"}", KH_E_FORMAT, "'-1' is not a class index"},
                 {"{\"x\": \"cat\"}", KH_E_FORMAT, "'x' is not a class index"},
                 {"{\"0\": 7}", KH_E_FORMAT, "class 0 is not a text"},
                 {"{\"0\": [\"cat\", \"dog\"]}", KH_E_FORMAT, "not a pair"},
                 {"{\"0\": [\"n02099601\"]}", KH_E_FORMAT, "not a pair"},
                 {"[null]", KH_E_FORMAT, "class 0 is not a text"},
                 {"{\"4000000000\": \"cat\"}", KH_E_LIMIT, "at most 131072"},
                 {"{\"18446744073709551615\": \"cat\"}", KH_E_LIMIT, "at most 131072"},
                 {"{\"18446744073709551616\": \"cat\"}", KH_E_FORMAT, "not a class index"},
                 {"{\"0\": \"cat\"", KH_E_FORMAT, "not valid JSON"},
                 {"[\"ca\\u0000t\"]", KH_E_FORMAT, "not valid JSON"},
                 {"[\"ca\\u001bt\", \"dog\"]", KH_E_FORMAT, "control character 0x1b"},
                 {"cat\x07\ndog\n", KH_E_FORMAT, "control character 0x07"},
                 {"c\xC2\x9B"
                  "2Jt\ndog\n",
                  KH_E_FORMAT, "control character 0x9b"},
                 {"c\xFFt\ndog\n", KH_E_FORMAT, "UTF-8"},
                 {"[[[[[[[[[[[[[[[[[[[[\"cat\"]]]]]]]]]]]]]]]]]]]]", KH_E_LIMIT, "nested deeper"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kh_classes *list = NULL;
        kh_assert_fails(parse(cases[i].text, strlen(cases[i].text), 2, &list), cases[i].status,
                        cases[i].part);
        assert_null(list);
    }
    kh_classes *list;
    kh_assert_fails(parse("cat\0dog\n", 8, 2, &list), KH_E_FORMAT, "NUL byte at offset 3");
    static char big[300000];
    memset(big, 'x', 1200);
    kh_assert_fails(parse(big, 1200, 0, &list), KH_E_LIMIT, "1200 bytes; at most 1000");
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = i % 2 ? '\n' : 'x';
    kh_assert_fails(parse(big, sizeof big, 0, &list), KH_E_LIMIT, "at most 131072 classes");
    kh_limits limits = kh_limits_default();
    limits.max_label_bytes = 100;
    kh_assert_fails(kh_classes_parse(big, 101, 0, &limits, "labels", &list, &err), KH_E_LIMIT,
                    "limit of 100");
}

static void files_are_read_by_path(void **state) {
    (void)state;
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/labels.txt", kh_test_folder("classes"));
    kh_classes *list;
    kh_assert_fails(kh_classes_read(path, 2, NULL, &list, &err), KH_E_NOT_FOUND, "labels.txt");
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    (void)fputs("cat\ndog\n", file);
    (void)fclose(file);
    kh_assert_ok(kh_classes_read(path, 2, NULL, &list, &err));
    size_t index;
    kh_assert_ok(kh_classes_find(list, "dog", &index, &err));
    assert_int_equal(index, 1);
    kh_classes_free(list);
    kh_assert_fails(kh_classes_read(path, 3, NULL, &list, &err), KH_E_SHAPE, "labels.txt has 2");
    kh_limits limits = kh_limits_default();
    limits.max_label_bytes = 4;
    kh_assert_fails(kh_classes_read(path, 2, &limits, &list, &err), KH_E_LIMIT, "limit");
}

static void lists_from_arrays(void **state) {
    (void)state;
    static const char *const wnids[] = {"n02099601", NULL, NULL};
    static const char *const names[] = {NULL, "cat", NULL};
    kh_classes *list;
    kh_assert_ok(kh_classes_create(3, wnids, names, &list, &err));
    assert_string_equal(kh_classes_get(list, 0).name, "golden retriever");
    assert_string_equal(kh_classes_get(list, 1).name, "cat");
    assert_null(kh_classes_get(list, 1).wnid);
    assert_string_equal(kh_classes_get(list, 2).name, "class_2");
    assert_string_equal(kh_classes_get(list, 3).name, "");
    kh_classes_free(list);
    kh_assert_ok(kh_classes_create(2, NULL, NULL, &list, &err));
    assert_string_equal(kh_classes_get(list, 1).name, "class_1");
    kh_classes_free(list);
    kh_assert_fails(kh_classes_create(0, NULL, NULL, &list, &err), KH_E_ARG, "at least one");
    kh_classes_free(NULL);
}

static void every_failing_allocation_is_reported(void **state) {
    (void)state;
    static const char *const texts[] = {
        "n02099601 golden retriever\nn99999999\tno such thing\n",
        "{\"0\": \"cat\", \"7\": \"dog\"}",
        ("{\"label_names\": [\"n02099601\", \"n99999999\"], \"label_descriptions\": "
         "{\"n99999999\": \"no such thing\"}}")};
    for (size_t t = 0; t < 3; t++) {
        for (size_t n = 1;; n++) {
            kh_classes *list = NULL;
            size_t index;
            kh_alloc_fail_after(n);
            kh_status status = parse(texts[t], strlen(texts[t]), 0, &list);
            if (!status) {
                status = kh_classes_find(list, "no such class", &index, &err);
                if (status == KH_E_NOT_FOUND) status = KH_OK;
            }
            const bool reached = kh_alloc_count() >= n;
            kh_alloc_fail_after(0);
            kh_classes_free(list);
            if (!reached) {
                assert_int_equal(status, KH_OK);
                break;
            }
            kh_assert_fails(status, KH_E_MEMORY, "no memory");
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(imagenet_wnids_have_the_known_sum),
        cmocka_unit_test(spot_checks),
        cmocka_unit_test(queries_resolve),
        cmocka_unit_test(ambiguous_names_list_every_candidate),
        cmocka_unit_test(unknown_names_suggest_the_closest),
        cmocka_unit_test(every_form_of_label_file),
        cmocka_unit_test(hostile_label_files_are_refused),
        cmocka_unit_test(files_are_read_by_path),
        cmocka_unit_test(lists_from_arrays),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
