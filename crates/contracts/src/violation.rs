//! What is wrong with a record, in words that say what would be right.

use std::fmt;

/// A rule that a record breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which rule, for example `costumerchurn/Age/range`; of the whole record: `costumerchurn/json`.
    pub rule: String,
    /// The field, with dots for nested ones (`dob.age`), where there is one.
    pub field: Option<String>,
    /// In English: what is wrong and what would be right.
    pub reason: String,
    /// The same in French.
    pub reason_fr: String,
}

impl Violation {
    /// A violation of a rule that is not in a contract. The French reason is the same text; see [`with_fr`](Self::with_fr).
    pub fn new(rule: impl Into<String>, field: Option<String>, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { rule: rule.into(), field, reason_fr: reason.clone(), reason }
    }

    /// Adds the reason in French.
    pub fn with_fr(self, reason: impl Into<String>) -> Self {
        Self { reason_fr: reason.into(), ..self }
    }

    /// The reason in English.
    pub fn message_en(&self) -> &str {
        &self.reason
    }

    /// The reason in French.
    pub fn message_fr(&self) -> &str {
        &self.reason_fr
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.reason)
    }
}

impl std::error::Error for Violation {}

/// Lower and upper end of a range, inclusive or not.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Bounds {
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub above: Option<f64>,
    pub below: Option<f64>,
}

impl Bounds {
    pub fn hold(&self, value: f64) -> bool {
        self.min.is_none_or(|min| value >= min)
            && self.max.is_none_or(|max| value <= max)
            && self.above.is_none_or(|above| value > above)
            && self.below.is_none_or(|below| value < below)
    }

    fn words(&self, at_least: &str, at_most: &str, more: &str, less: &str, and: &str) -> String {
        let ends = [(self.min, at_least), (self.above, more), (self.max, at_most), (self.below, less)];
        let ends: Vec<String> =
            ends.into_iter().filter_map(|(end, words)| end.map(|end| format!("{words} {end}"))).collect();
        ends.join(and)
    }
}

/// What can be wrong. The names of the rules are part of the public interface: they stand in `anomalies`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Problem<'a> {
    Empty,
    Size { bytes: usize, limit: usize },
    Depth { limit: usize },
    Utf8 { at: usize },
    Json { line: usize, column: usize, cut: bool },
    NotAnObject,
    Form { what: String },
    Missing { because: Option<(&'a str, &'a str)> },
    Type { expected: &'static str, found: &'static str },
    Finite,
    Range { bounds: Bounds, found: Option<f64> },
    Length { min: usize, max: Option<usize>, found: usize },
    Items { min: usize, max: Option<usize>, found: usize },
    OneOf { choices: &'a [String] },
    Iso8601,
    Blank,
    Unknown { known: Vec<&'a str> },
    Duplicate,
}

impl Problem<'_> {
    pub fn violation(&self, contract: &str, field: Option<&str>) -> Violation {
        let rule = match field {
            Some(field) => format!("{contract}/{field}/{}", self.rule()),
            None => format!("{contract}/{}", self.rule()),
        };
        let name = field.unwrap_or_default();
        Violation { rule, field: field.map(str::to_owned), reason: self.en(name), reason_fr: self.fr(name) }
    }

    fn rule(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Size { .. } => "size",
            Self::Depth { .. } => "depth",
            Self::Utf8 { .. } => "utf-8",
            Self::Json { .. } => "json",
            Self::Form { .. } => "form",
            Self::Missing { .. } => "required",
            Self::NotAnObject | Self::Type { .. } => "type",
            Self::Finite => "finite",
            Self::Range { .. } => "range",
            Self::Length { .. } => "length",
            Self::Items { .. } => "items",
            Self::OneOf { .. } => "one_of",
            Self::Iso8601 => "iso8601",
            Self::Blank => "not_blank",
            Self::Unknown { .. } => "unknown",
            Self::Duplicate => "duplicate",
        }
    }

    fn en(&self, name: &str) -> String {
        match self {
            Self::Empty => String::from("the record has no value; send one JSON object"),
            Self::Size { bytes, limit } => {
                format!(
                    "the record has {bytes} bytes; at most {limit} are accepted (maxBytes in the contract)"
                )
            }
            Self::Depth { limit } => {
                format!("the record is nested more than {limit} levels deep; flatten it")
            }
            Self::Utf8 { at } => {
                format!(
                    "byte {at} of the record is not valid UTF-8; send UTF-8 (Latin-1 files must be converted)"
                )
            }
            Self::Json { line, column, cut: true } => {
                format!(
                    "the record ends in the middle of its JSON (line {line}, column {column}); send it whole"
                )
            }
            Self::Json { line, column, cut: false } => format!(
                "the record is not JSON at line {line}, column {column} (NaN and Infinity are not JSON either); send one JSON object"
            ),
            Self::NotAnObject => String::from("the record is JSON, but not an object; send one JSON object"),
            Self::Form { what } => {
                format!("the record keeps its contract, but not the form that the program reads: {what}")
            }
            Self::Missing { because: None } => format!("{name} is missing; it is mandatory"),
            Self::Missing { because: Some((other, value)) } => {
                format!("{name} is missing; it is mandatory where {other} is {value}")
            }
            Self::Type { expected, found } => {
                format!("{name} is {}; it must be {}", type_en(found), type_en(expected))
            }
            Self::Finite => format!("{name} is not a finite number; send an ordinary number"),
            Self::Range { bounds, found } => {
                let right = bounds.words("at least", "at most", "more than", "less than", " and ");
                match found {
                    Some(found) => format!("{name} is {found}; it must be {right}"),
                    None => format!("{name} is out of range; it must be {right}"),
                }
            }
            Self::Length { min, max, found } => {
                format!(
                    "{name} has {found} characters; it must have {}",
                    amount(*min, *max, "at least", "at most", "to")
                )
            }
            Self::Items { min, max, found } => {
                format!(
                    "{name} has {found} elements; it must have {}",
                    amount(*min, *max, "at least", "at most", "to")
                )
            }
            Self::OneOf { choices } => format!("{name} must be one of: {}", choices.join(", ")),
            Self::Iso8601 => format!("{name} is not an ISO 8601 time; write it as 2025-06-15T15:06:40Z"),
            Self::Blank => format!("{name} is blank; it must hold some text"),
            Self::Unknown { known } => {
                format!("{name} is not a field of this record; its fields are: {}", known.join(", "))
            }
            Self::Duplicate => format!("{name} occurs more than once; send each field once"),
        }
    }

    fn fr(&self, name: &str) -> String {
        match self {
            Self::Empty => String::from("l'enregistrement est vide ; envoyez un objet JSON"),
            Self::Size { bytes, limit } => {
                format!(
                    "l'enregistrement compte {bytes} octets ; {limit} au plus sont acceptés (maxBytes dans le contrat)"
                )
            }
            Self::Depth { limit } => {
                format!("l'enregistrement est imbriqué sur plus de {limit} niveaux ; aplatissez-le")
            }
            Self::Utf8 { at } => {
                format!(
                    "l'octet {at} de l'enregistrement n'est pas de l'UTF-8 ; envoyez de l'UTF-8 (convertissez les fichiers Latin-1)"
                )
            }
            Self::Json { line, column, cut: true } => {
                format!(
                    "l'enregistrement s'arrête au milieu de son JSON (ligne {line}, colonne {column}) ; envoyez-le entier"
                )
            }
            Self::Json { line, column, cut: false } => format!(
                "l'enregistrement n'est pas du JSON à la ligne {line}, colonne {column} (NaN et Infinity n'en sont pas non plus) ; envoyez un objet JSON"
            ),
            Self::NotAnObject => {
                String::from("l'enregistrement est du JSON, mais pas un objet ; envoyez un objet JSON")
            }
            Self::Form { what } => {
                format!(
                    "l'enregistrement respecte son contrat, mais pas la forme que lit le programme : {what}"
                )
            }
            Self::Missing { because: None } => format!("{name} manque ; ce champ est obligatoire"),
            Self::Missing { because: Some((other, value)) } => {
                format!("{name} manque ; ce champ est obligatoire quand {other} vaut {value}")
            }
            Self::Type { expected, found } => {
                format!("{name} est {} ; il faut {}", type_fr(found), type_fr(expected))
            }
            Self::Finite => format!("{name} n'est pas un nombre fini ; envoyez un nombre ordinaire"),
            Self::Range { bounds, found } => {
                let right = bounds.words("au moins", "au plus", "plus de", "moins de", " et ");
                match found {
                    Some(found) => format!("{name} vaut {found} ; il faut {right}"),
                    None => format!("{name} est hors limites ; il faut {right}"),
                }
            }
            Self::Length { min, max, found } => {
                format!(
                    "{name} compte {found} caractères ; il en faut {}",
                    amount(*min, *max, "au moins", "au plus", "à")
                )
            }
            Self::Items { min, max, found } => {
                format!(
                    "{name} compte {found} éléments ; il en faut {}",
                    amount(*min, *max, "au moins", "au plus", "à")
                )
            }
            Self::OneOf { choices } => {
                format!("{name} doit être l'une de ces valeurs : {}", choices.join(", "))
            }
            Self::Iso8601 => {
                format!("{name} n'est pas une date ISO 8601 ; écrivez-la ainsi : 2025-06-15T15:06:40Z")
            }
            Self::Blank => format!("{name} est vide ; il faut du texte"),
            Self::Unknown { known } => {
                format!(
                    "{name} n'est pas un champ de cet enregistrement ; ses champs sont : {}",
                    known.join(", ")
                )
            }
            Self::Duplicate => format!("{name} figure plusieurs fois ; envoyez chaque champ une fois"),
        }
    }
}

fn amount(min: usize, max: Option<usize>, at_least: &str, at_most: &str, to: &str) -> String {
    match (min, max) {
        (min, None) => format!("{at_least} {min}"),
        (0, Some(max)) => format!("{at_most} {max}"),
        (min, Some(max)) => format!("{min} {to} {max}"),
    }
}

fn type_en(name: &str) -> &str {
    match name {
        "string" => "a text",
        "number" => "a number",
        "integer" => "a whole number",
        "boolean" => "true or false",
        "timestamp" => "an ISO 8601 time",
        "object" => "an object",
        "array" => "a list",
        other => other,
    }
}

fn type_fr(name: &str) -> &str {
    match name {
        "string" => "un texte",
        "number" => "un nombre",
        "integer" => "un nombre entier",
        "boolean" => "vrai ou faux",
        "timestamp" => "une date ISO 8601",
        "object" => "un objet",
        "array" => "une liste",
        other => other,
    }
}
