//! `vigie model card`: the card of a model, as text, JSON or a page of HTML.

use std::path::PathBuf;

use clap::Args;
use vigie_churn::{Lang, ModelCard};

use super::tables::{read_model, write_file};
use super::train::Language;
use super::{Exit, Failure, Global, Outcome, out};

#[derive(Debug, Args)]
pub(super) struct Card {
    /// The model
    model: PathBuf,
    /// Where the card goes; default: standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Language of the card
    #[arg(long, value_enum, default_value_t = Language::En)]
    lang: Language,
}

impl Card {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let model = read_model(&self.model)?;
        match self.out {
            Some(path) => {
                write_card(model.card(), &path, self.lang.into())?;
                out::line(format_args!("written to {}", path.display()))?;
            }
            None if global.json => out::line(model.card().json())?,
            None => out::line(model.card().text(self.lang.into()))?,
        }
        Ok(Exit::Ok)
    }
}

/// Writes a card; the file's ending decides how.
pub(super) fn write_card(card: &ModelCard, path: &std::path::Path, lang: Lang) -> Result<(), Failure> {
    let text = match path.extension().and_then(|ending| ending.to_str()) {
        Some("html" | "htm") => card.html(lang),
        Some("json") => card.json(),
        _ => card.text(lang),
    };
    write_file(path, text.as_bytes())
}
