//! Sentences in the two languages of the screens. A sentence is made where its facts are known, in both
//! languages at once, so that no screen and no report has to guess; identifiers stay as they are in the data.

use serde::{Deserialize, Serialize};

/// A language of the screens and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lang {
    /// French.
    Fr,
    /// English.
    #[default]
    En,
}

/// One sentence, in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// The English sentence.
    pub en: String,
    /// The French sentence.
    pub fr: String,
}

impl Words {
    /// A sentence from its two versions.
    pub fn new(en: impl Into<String>, fr: impl Into<String>) -> Self {
        Self { en: en.into(), fr: fr.into() }
    }

    /// The sentence in one language.
    #[must_use]
    pub fn text(&self, lang: Lang) -> &str {
        match lang {
            Lang::En => &self.en,
            Lang::Fr => &self.fr,
        }
    }
}

/// A number for a sentence: at most `decimals` decimals, no trailing zeros, and a decimal comma in French.
#[must_use]
pub fn number(value: f64, decimals: usize, lang: Lang) -> String {
    let mut text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    if text == "-0" {
        text = "0".to_owned();
    }
    match lang {
        Lang::En => text,
        Lang::Fr => text.replace('.', ","),
    }
}

/// Like [`number`], always with its sign.
#[must_use]
pub fn signed(value: f64, decimals: usize, lang: Lang) -> String {
    let text = number(value, decimals, lang);
    if text.starts_with('-') || text == "0" { text } else { format!("+{text}") }
}

/// A share in per cent with one decimal: `19.4 %` (with the narrow habits of each language).
#[must_use]
pub fn percent(share: f64, lang: Lang) -> String {
    let text = number(share * 100.0, 1, lang);
    match lang {
        Lang::En => format!("{text}%"),
        Lang::Fr => format!("{text}\u{a0}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_their_language_writes_them() {
        let check = |value, decimals, en: &str, fr: &str| {
            assert_eq!(number(value, decimals, Lang::En), en);
            assert_eq!(number(value, decimals, Lang::Fr), fr);
        };
        check(1.50, 2, "1.5", "1,5");
        check(8.0, 2, "8", "8");
        check(-0.001, 2, "0", "0");
        check(100.0, 0, "100", "100");
        assert_eq!(signed(0.5, 1, Lang::Fr), "+0,5");
        assert_eq!(signed(-0.5, 1, Lang::En), "-0.5");
        assert_eq!(percent(0.1944, Lang::En), "19.4%");
    }
}
