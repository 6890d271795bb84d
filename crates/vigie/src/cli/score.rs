//! `vigie score`: the rows of a table, with probability, verdict and reasons.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use vigie_churn::{Lang, Model, Verdict};
use vigie_sources::csv::{Record, RowError, read_records};

use super::import::delimiter;
use super::interrupt::Interrupt;
use super::tables::read_model;
use super::train::Language;
use super::{Exit, Failure, Global, Outcome, out};

/// Columns that are added.
const ADDED: [&str; 3] = ["probability", "verdict", "reasons"];
/// So many bad rows are named.
const NAMED: u64 = 20;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vigie score model.vigie new_customers.csv --out scores.csv\n  \
                        vigie score model.vigie new_customers.csv --out - | sort -t, -k11\n\n\
                        Every input row comes out, in the same order with all its columns; a row that cannot be scored says why in `reasons`\n\
                        and has no probability. The exit code is 3 then.")]
pub(super) struct Score {
    /// The model
    model: PathBuf,
    /// The table
    file: PathBuf,
    /// Where the scores go; `-` is standard output
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How many reasons a row
    #[arg(long, default_value_t = 3)]
    reasons: usize,
    /// The separator of the input; default: found out
    #[arg(long, value_name = "CHARACTER")]
    delimiter: Option<char>,
    /// Language of the reasons
    #[arg(long, value_enum, default_value_t = Language::En)]
    lang: Language,
}

impl Score {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let model = read_model(&self.model)?;
        let mut records = read_records(&self.file, delimiter(self.delimiter)?)?;
        check_columns(&model, &self.file, records.names())?;
        for note in records.notes() {
            out::note(format_args!("{}: {note}", self.file.display()));
        }
        let cannot = |error: std::io::Error| {
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                return Failure::from(error);
            }
            Failure::new(
                Exit::Failure,
                format!(
                    "{}: cannot be written: {error}; check the folder and the free space",
                    self.out.display()
                ),
            )
        };
        let standard = self.out.as_os_str() == "-";
        // Written beside and renamed: a file of this name is always whole.
        let part = self.out.with_extension("part");
        let sink: Box<dyn Write> = if standard {
            Box::new(std::io::stdout().lock())
        } else {
            Box::new(std::fs::File::create(&part).map_err(cannot)?)
        };
        let mut writer = csv::Writer::from_writer(BufWriter::new(sink));
        let as_io = |error: csv::Error| cannot(std::io::Error::from(error));
        let names = records.names().to_vec();
        writer.write_record(names.iter().map(String::as_str).chain(ADDED)).map_err(as_io)?;
        let interrupt = Interrupt::listen();
        let mut progress = out::Progress::bytes("scoring", records.size());
        let (mut scored, mut bad) = (0_u64, 0_u64);
        while let Some(record) = records.next() {
            if interrupt.asked() {
                break;
            }
            match self.score(&model, &names, record) {
                Ok(row) => {
                    scored += 1;
                    writer.write_record(&row).map_err(as_io)?;
                }
                Err((row, reason)) => {
                    bad += 1;
                    if bad <= NAMED {
                        out::note(format_args!("{}, {reason}", self.file.display()));
                    }
                    writer.write_record(&row).map_err(as_io)?;
                }
            }
            if (scored + bad) % 1_000 == 0 {
                progress.set(records.position());
            }
        }
        progress.finish();
        writer.flush().map_err(cannot)?;
        drop(writer);
        if interrupt.asked() {
            if !standard {
                // What is left of it is of no use; that it cannot be removed changes nothing.
                let _ = std::fs::remove_file(&part);
            }
            return Err(Failure::new(Exit::Failure, "interrupted; nothing was written"));
        }
        if !standard {
            std::fs::rename(&part, &self.out).map_err(cannot)?;
        }
        let summary = json!({"scored": scored, "bad": bad, "model": model.id(), "out": self.out});
        match (standard, global.json) {
            (true, _) => out::note(format_args!("{scored} row(s) scored, {bad} could not be")),
            (false, true) => out::line(summary)?,
            (false, false) => {
                out::line(format_args!(
                    "{scored} row(s) scored, {bad} could not be; written to {}",
                    self.out.display()
                ))?;
            }
        }
        Ok(if bad > 0 { Exit::BadInput } else { Exit::Ok })
    }

    /// The output row; or, for a row that cannot be scored, what to write all the same and why.
    fn score(
        &self,
        model: &Model,
        names: &[String],
        record: Result<Record, RowError>,
    ) -> Result<Vec<String>, (Vec<String>, String)> {
        let lang = Lang::from(self.lang);
        let unscored = |mut cells: Vec<String>, reason: String, says: String| {
            cells.extend([String::new(), String::new(), format!("not scored: {reason}")]);
            (cells, says)
        };
        let record = record.map_err(|error| {
            let mut cells = vec![String::new(); names.len()];
            if let Some(first) = cells.first_mut() {
                *first = String::from_utf8_lossy(&error.raw).into_owned();
            }
            unscored(cells, error.reason.clone(), error.to_string())
        })?;
        let cell = |name: &str| {
            names
                .iter()
                .position(|column| column == name)
                .and_then(|index| record.cells.get(index))
                .map(String::as_str)
        };
        let row = match model.row(cell) {
            Ok(row) => row,
            Err(error) => {
                let says = format!("line {}: {error}", record.line);
                return Err(unscored(record.cells.clone(), error.to_string(), says));
            }
        };
        let explanation = model.explain(&row);
        let verdict = match explanation.score.verdict {
            Verdict::Leaves => "will_churn",
            Verdict::Stays => "will_stay",
        };
        let reasons: Vec<String> = explanation
            .reasons
            .iter()
            .take(self.reasons)
            .map(|reason| reason.text_with(&super::labels::label(&reason.name), lang))
            .collect();
        let mut cells = record.cells;
        cells.extend([explanation.score.probability.to_string(), verdict.to_owned(), reasons.join("; ")]);
        Ok(cells)
    }
}

/// The model's columns must all be there; the nearest name is suggested.
pub(super) fn check_columns(model: &Model, file: &Path, names: &[String]) -> Result<(), Failure> {
    let missing: Vec<String> = model
        .features()
        .iter()
        .map(|feature| feature.name.as_str())
        .filter(|name| !names.iter().any(|column| column == name))
        .map(|name| {
            let near = names
                .iter()
                .map(|column| {
                    (strsim::damerau_levenshtein(&column.to_lowercase(), &name.to_lowercase()), column)
                })
                .min()
                .filter(|(distance, _)| *distance <= name.len() / 2);
            match near {
                Some((_, column)) => format!("`{name}` (is it `{column}`?)"),
                None => format!("`{name}`"),
            }
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::BadInput,
        format!(
            "{}, line 1: the model reads columns that are not there: {}; the file has {}",
            file.display(),
            missing.join(", "),
            names.join(", ")
        ),
    ))
}
