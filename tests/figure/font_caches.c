/* fontconfig keeps its configuration until the process ends; tell the leak checker so. */
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void) {
    return "leak:libfontconfig\n";
}
