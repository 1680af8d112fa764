"""The pictures to work with, in marimo: an app, a script, and a test in one file.

protime notebook                                       # the app, in the browser
python -m protime_source.reporting.notebook            # the findings, as text
pytest protime_source/reporting/notebook.py            # each picture agrees with its SQL
marimo edit protime_source/reporting/notebook.py       # in a clone: to change it
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Protime: plan and work")

with app.setup:
    from datetime import UTC, datetime

    import marimo as mo

    from protime_source.pipeline.opening import looked_at
    from protime_source.reporting.charts import chart_of, config
    from protime_source.reporting.pictures import all_pictures
    from protime_source.reporting.reading import Selection, day_of, open_dataset

    DEFAULT_WAREHOUSE = ("protime", None, "protime_data")


@app.cell
def _():
    arguments = mo.cli_args()
    warehouse = (
        str(arguments.get("pipeline") or DEFAULT_WAREHOUSE[0]),
        str(arguments.get("destination") or "") or DEFAULT_WAREHOUSE[1],
        str(arguments.get("dataset") or DEFAULT_WAREHOUSE[2]),
    )
    today = day_of(datetime.now(UTC))
    around = Selection.around(today)
    with looked_at(*warehouse) as _pipeline, open_dataset(_pipeline) as _dataset:
        people = _dataset.people_by_name()
        departments = _dataset.departments_by_name()
    return around, departments, people, today, warehouse


@app.cell
def _(around, departments, people):
    days = mo.ui.date_range(value=(around.first_day, around.last_day), label="Days")
    department = mo.ui.dropdown(departments, label="Department", searchable=True)
    person = mo.ui.dropdown(people, label="Person", searchable=True)
    mo.vstack(
        [mo.md("# Protime: plan and work"), mo.hstack([days, department, person], justify="start")]
    )
    return days, department, person


@app.cell
def _(days, department, person, today, warehouse):
    _first_day, _last_day = days.value
    selection = Selection(_first_day, _last_day, person.value, department.value)
    with looked_at(*warehouse) as _pipeline, open_dataset(_pipeline) as _dataset:
        pictures = all_pictures(_dataset, selection, today)
    return (pictures,)


@app.cell
def _(pictures):
    if mo.app_meta().mode == "script":
        print(*(f"{_picture.name}: {_picture.title}." for _picture in pictures), sep="\n")
    return


@app.cell
def _(pictures):
    def _section(picture):
        parts: list[object] = [mo.md(f"## {picture.title}"), mo.md(picture.subtitle)]
        chart = chart_of(picture, titled=False)
        if chart is not None:
            sql = (
                "It needs no views; where `protime models` has created them, its last SELECT is"
                f" enough.\n```sql\n{picture.sql}\n```"
            )
            figures = mo.ui.table(picture.rows, selection=None)
            parts += [
                chart.properties(config=config()),
                mo.accordion({"SQL": mo.md(sql), "Figures": figures}),
            ]
        return mo.vstack(parts)

    mo.vstack([_section(_picture) for _picture in pictures], gap=2)
    return


@app.function
def test_each_picture_agrees_with_its_sql():
    """The SQL that is shown to be copied finds something exactly where its picture does."""
    today = day_of(datetime.now(UTC))
    with looked_at(*DEFAULT_WAREHOUSE) as pipeline, open_dataset(pipeline) as dataset:
        for picture in all_pictures(dataset, Selection.around(today), today):
            found = dataset.rows(picture.sql) if picture.sql else []
            assert bool(found) == bool(picture.rows), picture.name


if __name__ == "__main__":
    app.run()
