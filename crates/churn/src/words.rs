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

/// What people call a column, and for a yes or no, how they say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The column's name in a sentence: `Number of sites`.
    pub name: Words,
    /// For a yes or no.
    pub yes_no: Option<YesNoWords>,
}

/// How a yes or no is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct YesNoWords {
    /// `With an account manager`.
    pub yes: Words,
    /// `Without an account manager`.
    pub no: Words,
    /// What follows a share of customers: `have one`.
    pub share: Words,
}

impl Label {
    /// A label without words of its own for yes and no.
    #[must_use]
    pub fn plain(name: Words) -> Self {
        Self { name, yes_no: None }
    }
}

/// A number for a sentence: at most `decimals` decimals, no trailing zeros; from ten thousand on with thousands apart; a decimal
/// comma and narrow spaces in French.
#[must_use]
pub fn number(value: f64, decimals: usize, lang: Lang) -> String {
    let mut text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    if text == "-0" {
        text = "0".to_owned();
    }
    let (point, apart) = match lang {
        Lang::En => ('.', ','),
        Lang::Fr => (',', '\u{202f}'),
    };
    let (whole, rest) =
        text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let digits = whole.trim_start_matches('-');
    let mut out = String::from(if whole.starts_with('-') { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && digits.len() > 4 && (digits.len() - index) % 3 == 0 {
            out.push(apart);
        }
        out.push(digit);
    }
    if let Some(rest) = rest {
        out.push(point);
        out.push_str(rest);
    }
    out
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
        check(9_999.5, 1, "9999.5", "9999,5");
        check(10_522.21, 2, "10,522.21", "10\u{202f}522,21");
        check(-1_234_567.0, 0, "-1,234,567", "-1\u{202f}234\u{202f}567");
        assert_eq!(signed(0.5, 1, Lang::Fr), "+0,5");
        assert_eq!(signed(-0.5, 1, Lang::En), "-0.5");
        assert_eq!(percent(0.1944, Lang::En), "19.4%");
    }
}
