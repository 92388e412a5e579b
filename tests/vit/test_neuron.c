#include "support/kh_test.h"

#include "keyhole/vit.h"

static void all_three_spellings_name_the_same_neuron(void **state) {
    (void)state;
    static const char *const spellings[] = {"b10n1198", "10:1198", "blocks.10.mlp.fc1[1198]"};
    for (size_t i = 0; i < 3; i++) {
        kh_error err;
        kh_neuron neuron;
        kh_assert_ok(kh_neuron_parse(spellings[i], &neuron, &err));
        assert_int_equal(neuron.block, 10);
        assert_int_equal(neuron.index, 1198);
    }
}

static void formatting_gives_what_parsing_takes(void **state) {
    (void)state;
    kh_error err;
    char text[64];
    const kh_neuron want = {SIZE_MAX, 0};
    kh_neuron got;
    kh_neuron_format(want, text, sizeof text);
    assert_string_equal(text, "b18446744073709551615n0");
    kh_assert_ok(kh_neuron_parse(text, &got, &err));
    assert_true(got.block == want.block && got.index == want.index);
    kh_neuron_format((kh_neuron){7, 42}, text, 4); /* cut off, never overrun */
    assert_string_equal(text, "b7n");
}

static void anything_else_is_refused_and_shown(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "",
        "b",
        "b1",
        "b1n",
        "bn1",
        "b1n2 ",
        " b1n2",
        "b-1n2",
        "b1n2x",
        "1:",
        ":1",
        "1:2:3",
        "1,2",
        "b1n0x2",
        "B1n2",
        "blocks.1.mlp.fc1[2",
        "blocks.1.mlp.fc1[]",
        "blocks..mlp.fc1[2]",
        "blocks.1.mlp.fc2[3]",
        "blocks.1.mlp.fc1[3]]",
        "b18446744073709551616n0",
        "b1n99999999999999999999999999999999",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        kh_error err = {0};
        kh_neuron neuron = {3, 4};
        kh_assert_fails(kh_neuron_parse(wrong[i], &neuron, &err), KH_E_ARG, "not a key neuron");
        assert_true(neuron.block == 3 && neuron.index == 4);
    }
    kh_error err = {0};
    kh_neuron neuron;
    kh_assert_fails(kh_neuron_parse(NULL, &neuron, &err), KH_E_ARG, "no neuron");
    kh_assert_fails(kh_neuron_parse("b1\033[2J", &neuron, &err), KH_E_ARG, "\\x1b");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_three_spellings_name_the_same_neuron),
        cmocka_unit_test(formatting_gives_what_parsing_takes),
        cmocka_unit_test(anything_else_is_refused_and_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
