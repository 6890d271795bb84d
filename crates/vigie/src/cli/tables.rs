//! What the commands around a model read: tables, models, files of roles; and how they write what they made.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use vigie_churn::cells::DateFormat;
use vigie_churn::{Model, PlanOptions, Role, Table};
use vigie_sources::csv::read_records;

use super::{Exit, Failure, out};
use crate::model::write_whole;

/// Reads a whole table. A bad row is an error where `strict` (a model from half a table would not be the one asked for), else it is
/// named, left out and counted.
pub(super) fn read_table(path: &Path, delimiter: Option<u8>, strict: bool) -> Result<(Table, u64), Failure> {
    let mut records = read_records(path, delimiter)?;
    for note in records.notes() {
        out::note(format_args!("{}: {note}", path.display()));
    }
    let mut progress = out::Progress::bytes("reading", records.size());
    let mut table = Table::new(records.names().iter().cloned())?;
    let (mut noted, mut bad) = (0_u64, 0_u64);
    while let Some(record) = records.next() {
        let record = match record {
            Ok(record) => record,
            Err(error) if strict => {
                return Err(Failure::new(Exit::BadInput, format!("{}, {error}", path.display())));
            }
            Err(error) => {
                out::note(format_args!("{}, {error}", path.display()));
                bad += 1;
                continue;
            }
        };
        noted += u64::from(!record.notes.is_empty());
        let cells: Vec<Option<&str>> = record.cells.iter().map(|cell| Some(cell.as_str())).collect();
        table.push_row(&cells)?;
        if table.rows() % 4_096 == 0 {
            progress.set(records.position());
        }
    }
    progress.finish();
    if noted > 0 {
        out::note(format_args!(
            "{}: {noted} row(s) with a surplus comma or in Latin-1 were read all the same",
            path.display()
        ));
    }
    Ok((table, bad))
}

/// Reads a model file.
pub(super) fn read_model(path: &Path) -> Result<Model, Failure> {
    let bytes = std::fs::read(path).map_err(|error| {
        Failure::new(
            Exit::BadInput,
            format!("{}: cannot be read: {error}; train a model with `vigie train`", path.display()),
        )
    })?;
    Model::from_bytes(&bytes)
        .map_err(|error| Failure::new(Exit::BadInput, format!("{}: {error}", path.display())))
}

/// Writes a file whole or not at all.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::path::absolute(path).and_then(|whole| write_whole(&whole, bytes)).map_err(|error| {
        Failure::new(
            Exit::Failure,
            format!(
                "{}: cannot be written: {error}; check the folder's permissions and the free space",
                path.display()
            ),
        )
    })
}

/// What a file of roles says of one column.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Given {
    Role(Role),
    More { role: Role, dates: Option<DateFormat> },
}

/// A plan as `vigie train --dry-run --json` prints it.
#[derive(Debug, Deserialize)]
struct Printed {
    columns: Vec<PrintedColumn>,
}

#[derive(Debug, Deserialize)]
struct PrintedColumn {
    name: String,
    role: Role,
    dates: Option<DateFormat>,
}

/// Takes the roles of a file over: TOML (`tenure = "number"`), JSON in the same shape, or the JSON of a dry run.
pub(super) fn read_roles(path: &Path, options: &mut PlanOptions) -> Result<(), Failure> {
    let wrong = |what: String| {
        Failure::new(
            Exit::BadInput,
            format!(
                "{}: {what}; write one line a column, such as `tenure = \"number\"`, with one of number, boolean, category, date, id, \
                 free_text, treatment, value, left_out",
                path.display()
            ),
        )
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(Exit::BadInput, format!("{}: cannot be read: {error}", path.display()))
    })?;
    let given: BTreeMap<String, Given> = if text.trim_start().starts_with('{') {
        if let Ok(printed) = serde_json::from_str::<Printed>(&text) {
            let column =
                |column: PrintedColumn| (column.name, Given::More { role: column.role, dates: column.dates });
            printed.columns.into_iter().map(column).collect()
        } else {
            serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?
        }
    } else {
        toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?
    };
    for (name, given) in given {
        let (role, dates) = match given {
            Given::Role(role) => (role, None),
            Given::More { role, dates } => (role, dates),
        };
        if let (Role::Date, Some(dates)) = (role, dates) {
            options.dates.insert(name.clone(), dates);
        }
        // What was said on the command line counts more.
        match role {
            Role::Target if name == options.target => {}
            Role::Treatment => {
                options.treatment.get_or_insert(name);
            }
            Role::Value => {
                options.value.get_or_insert(name);
            }
            Role::Id if options.id.is_none() => options.id = Some(name),
            role => {
                options.roles.entry(name).or_insert(role);
            }
        }
    }
    Ok(())
}
