// SPDX-License-Identifier: Apache-2.0
/* Figures as files, drawn by gnuplot: for each a script with its data, which can be changed and
 * drawn again, an SVG and a PDF. Texts stand in single quotes, where gnuplot interprets nothing. */
#include "figure.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#define PUT(...) PB_TRY(pb_string_printf(out, __VA_ARGS__))

extern char **environ;

typedef struct plots {
    const pb_results *results;
    const char *directory;
    int64_t model, dataset; /* dataset -1: of the model as a whole */
    int64_t count;
    pb_string all; /* the script that draws every figure */
} plots;

static const char *const colours[FIGURE_COLOURS] = {"#0072b2", "#c44f00", "#00805d", "#b0508a",
                                                    "#8f6400", "#2583b5", "#6a3d9a", "#4d5560"};
/* gnuplot's point types of the markers: filled, and as outlines. */
static const int filled[FIGURE_MARKERS] = {7, 5, 9, 13, 2, 1};
static const int open[FIGURE_MARKERS]   = {6, 4, 8, 12, 2, 1};

/* A text in single quotes; as a label of a tick, which is a format of numbers. */
static pb_status put_quoted(pb_string *out, const char *text, bool tick)
{
    PB_TRY(pb_string_puts(out, "'"));
    for (const char *c = text; *c != '\0'; c++) {
        PB_TRY(pb_string_puts(out, tick && *c == '%' ? "%" : ""));
        PB_TRY(*c == '\''                 ? pb_string_puts(out, "''")
               : (unsigned char)*c < 0x20 ? pb_string_puts(out, " ")
                                          : pb_string_append(out, c, 1));
    }
    return pb_string_puts(out, "'");
}

static pb_status put_text(pb_string *out, const char *text)
{
    return put_quoted(out, text, false);
}

static pb_status put_points(const char *kind, int64_t index, const figure_point *points,
                            int64_t count, bool rows, pb_string *out)
{
    PUT("$%s%" PRId64 " << EOD\n", kind, index);
    for (int64_t i = 0; i < count; i++) {
        const figure_point *p = &points[i];
        double y              = rows ? (double)index : p->y;
        double low            = isnan(p->low) ? p->x : p->low;
        double high           = isnan(p->high) ? p->x : p->high;
        if (isfinite(p->x) && isfinite(y)) {
            PUT("%.9g %.9g %.9g %.9g\n", p->x, y, low, high);
        }
    }
    return pb_string_puts(out, "EOD\n");
}

static pb_status put_data(const figure *f, bool rows, pb_string *out)
{
    for (int64_t i = 0; i < f->count; i++) {
        const figure_series *s = &f->series[i];
        if (s->count > 0) {
            PB_TRY(put_points("d", i, s->points, s->count, rows, out));
        }
        if (s->marks_count > 0) {
            PB_TRY(put_points("m", i, s->marks, s->marks_count, rows, out));
        }
    }
    return PB_OK;
}

static pb_status put_row_series(const figure *f, int64_t i, const char *colour, pb_string *out)
{
    if (f->kind == FIGURE_DOTS) {
        PUT("$d%" PRId64 " using 1:2 with points pt 6 ps 0.6 lc rgb '%s' notitle, \\\n", i, colour);
        return PB_OK;
    }
    PUT("$d%" PRId64
        " using 1:2:(0):1:($2-0.3):($2+0.3) with boxxyerror fs solid noborder lc rgb '%s' "
        "notitle, \\\n",
        i, colour);
    PUT("$d%" PRId64 " using 1:2:3:4 with xerrorbars pt 0 lc rgb 'black' notitle, \\\n", i);
    return PB_OK;
}

static pb_status put_plane_series(const figure *f, int64_t i, const char *colour, pb_string *out)
{
    const figure_series *s = &f->series[i];
    int64_t marker         = s->style % FIGURE_MARKERS;

    if (f->kind == FIGURE_POINTS) {
        int shape = s->strong ? filled[marker] : open[marker];
        PUT("$d%" PRId64 " using 1:2 with points pt %d ps %.2f lc rgb '%s' notitle, \\\n", i, shape,
            0.6 + 1.6 * sqrt(s->area), colour);
        PUT("NaN with points pt %d lc rgb '%s' title ", shape, colour);
        PB_TRY(put_text(out, s->name));
        return pb_string_puts(out, ", \\\n");
    }
    PUT("$d%" PRId64 " using 1:2 with lines lw 1.5 dt %" PRId64 " lc rgb '%s' notitle, \\\n", i,
        s->style / FIGURE_MARKERS % FIGURE_DASHES + 1, colour);
    if (s->marks_count > 0) {
        PUT("$m%" PRId64 " using 1:2 with points pt %d ps 0.5 lc rgb '%s' notitle, \\\n", i,
            filled[marker], colour);
    }
    PUT("NaN with linespoints dt %" PRId64 " pt %d lc rgb '%s' title ",
        s->style / FIGURE_MARKERS % FIGURE_DASHES + 1, filled[marker], colour);
    PB_TRY(put_text(out, s->name));
    return pb_string_puts(out, ", \\\n");
}

static pb_status put_plot(const figure *f, bool rows, pb_string *out)
{
    PB_TRY(pb_string_puts(out, "plot \\\n"));
    for (int64_t i = 0; i < f->count; i++) {
        const char *colour = colours[f->series[i].style % FIGURE_COLOURS];
        if (f->series[i].count > 0) {
            PB_TRY(rows ? put_row_series(f, i, colour, out) : put_plane_series(f, i, colour, out));
        }
    }
    return pb_string_puts(out, "NaN notitle\n");
}

static pb_status put_axes(const figure *f, bool rows, pb_string *out)
{
    figure_range x = figure_x(f);
    figure_range y = figure_y(f);

    PUT("set xrange [%.9g:%.9g]\nset xlabel ", x.low, x.high);
    PB_TRY(put_text(out, f->x));
    PB_TRY(pb_string_puts(out, "\nset title "));
    PB_TRY(put_text(out, f->title.data));
    if (!rows) {
        PUT(" font ',10'\nset yrange [%.9g:%.9g]\nset ylabel ", y.low, y.high);
        PB_TRY(put_text(out, f->y));
        return pb_string_puts(out, "\n");
    }
    PUT(" font ',10'\nset yrange [%" PRId64 ".5:-0.5]\nset ytics (", f->count - 1);
    for (int64_t i = 0; i < f->count; i++) {
        PB_TRY(pb_string_puts(out, i > 0 ? ", " : ""));
        PB_TRY(put_quoted(out, f->series[i].name, true));
        PUT(" %" PRId64, i);
    }
    return pb_string_puts(out, ")\n");
}

static pb_status put_output(const char *terminal, const char *name, const char *end, pb_string *out)
{
    pb_string file = {0};

    PUT("set terminal %s\nset output ", terminal);
    PB_TRY(pb_string_printf(&file, "%s.%s", name, end));
    pb_status status = put_text(out, file.data);
    pb_string_clear(&file);
    return status == PB_OK ? pb_string_puts(out, "\n") : status;
}

static pb_status put_script(const figure *f, const char *name, pb_string *out)
{
    bool rows   = f->kind == FIGURE_BARS || f->kind == FIGURE_DOTS;
    double tall = rows ? 1.1 + 0.28 * (double)f->count : 3.4; /* inches */
    char terminal[128];

    PB_TRY(pb_string_puts(out, "# Run by gnuplot in this folder, writes the SVG and the PDF of its "
                               "name.\nreset\nset encoding utf8\nset grid lc rgb '#d5dae0'\nset "
                               "border 3\nset tics nomirror\nset key outside right top Left "
                               "reverse samplen 2\n"));
    PB_TRY(put_axes(f, rows, out));
    PB_TRY(put_data(f, rows, out));
    (void)snprintf(terminal, sizeof terminal,
                   "svg noenhanced size 640,%.0f font 'sans,12' background 'white'", tall * 100);
    PB_TRY(put_output(terminal, name, "svg", out));
    PB_TRY(put_plot(f, rows, out));
    (void)snprintf(terminal, sizeof terminal,
                   "pdfcairo noenhanced size 6.4in,%.2fin font 'sans,11'", tall);
    PB_TRY(put_output(terminal, name, "pdf", out));
    PB_TRY(put_plot(f, rows, out));
    return pb_string_puts(out, "unset output\n");
}

/* "MODEL-NAME" or "MODEL-DATASET-NAME", as one component of a path. */
static pb_status name_of(const plots *p, const char *name, pb_string *out)
{
    PB_TRY(pb_results_escape(p->results->models[p->model], out));
    PB_TRY(pb_string_puts(out, "-"));
    if (p->dataset >= 0) {
        PB_TRY(pb_results_escape(p->results->datasets[p->dataset], out));
        PB_TRY(pb_string_puts(out, "-"));
    }
    return pb_string_puts(out, name);
}

static pb_status write_script(const plots *p, const char *name, const pb_string *script)
{
    pb_string path = {0};

    PB_TRY(pb_string_printf(&path, "%s/%s.gp", p->directory, name));
    pb_status status = pb_file_write_atomic(path.data, script->data, script->length);
    pb_string_clear(&path);
    return status;
}

static pb_status show(void *context, const char *kind, const figure *f)
{
    plots *p         = context;
    pb_string name   = {0};
    pb_string file   = {0};
    pb_string script = {0};
    pb_status status;

    PB_TRY_GOTO(status, name_of(p, kind, &name), out);
    PB_TRY_GOTO(status, put_script(f, name.data, &script), out);
    PB_TRY_GOTO(status, write_script(p, name.data, &script), out);
    PB_TRY_GOTO(status, pb_string_printf(&file, "%s.gp", name.data), out);
    PB_TRY_GOTO(status, pb_string_puts(&p->all, "load "), out);
    PB_TRY_GOTO(status, put_text(&p->all, file.data), out);
    PB_TRY_GOTO(status, pb_string_puts(&p->all, "\n"), out);
    p->count++;
out:
    pb_string_clear(&name);
    pb_string_clear(&file);
    pb_string_clear(&script);
    return status;
}

static pb_status write_all(plots *p, const summary *all)
{
    const pb_results *r = p->results;

    for (p->model = 0; p->model < r->models_count; p->model++) {
        p->dataset = -1;
        PB_TRY(figures_of_model(all, r, p->model, show, p));
        for (p->dataset = 0; p->dataset < r->datasets_count; p->dataset++) {
            PB_TRY(figures_of_curves(r, p->model, p->dataset, show, p));
        }
    }
    return write_script(p, "all", &p->all);
}

static pb_status run_gnuplot(const char *directory)
{
    pb_string command = {0};
    pid_t child       = 0;
    int ended         = 0;

    PB_TRY(pb_string_puts(&command, "cd "));
    pb_status status = put_text(&command, directory);
    if (status == PB_OK) {
        status = pb_string_puts(&command, "; load 'all.gp'");
    }
    char *const argv[] = {(char[]){"gnuplot"}, (char[]){"-e"}, command.data, NULL};
    int error = status == PB_OK ? posix_spawnp(&child, "gnuplot", NULL, NULL, argv, environ) : 0;
    if (status == PB_OK && error != 0) {
        status = PB_FAIL(PB_ERR_NOT_FOUND,
                         "gnuplot cannot be started: %s; install it, or draw the scripts of %s "
                         "elsewhere: gnuplot all.gp",
                         strerror(error), directory);
    } else if (status == PB_OK) {
        while (waitpid(child, &ended, 0) < 0 && errno == EINTR) {
        }
        if (ended != 0) {
            status = PB_FAIL(PB_ERR_LIBRARY, "gnuplot did not draw all of %s/all.gp", directory);
        }
    }
    pb_string_clear(&command);
    return status;
}

pb_status pb_report_plots(const pb_results *results, const pb_report_options *options,
                          const char *directory, int64_t *count)
{
    plots p     = {.results = results, .directory = directory};
    summary all = {0};
    pb_status status;

    PB_TRY_GOTO(status, pb_path_make_directories(directory), out);
    PB_TRY_GOTO(status, summary_make(results, options, &all), out);
    PB_TRY_GOTO(status, write_all(&p, &all), out);
    PB_TRY_GOTO(status, p.count > 0 ? run_gnuplot(directory) : PB_OK, out);
    *count = p.count;
out:
    pb_string_clear(&p.all);
    summary_clear(&all);
    return status;
}
