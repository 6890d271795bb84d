//! The header: which field is which column.

use std::path::Path;

use super::CsvError;

/// The columns of the agency's file, in its order, without the label.
pub const COLUMNS: [&str; 9] = [
    "Names",
    "Age",
    "Total_Purchase",
    "Account_Manager",
    "Years",
    "Num_Sites",
    "Onboard_date",
    "Location",
    "Company",
];
/// The label: there or not.
pub(super) const LABEL: &str = "Churn";
/// Identity: there or not.
pub(super) const IDENTITY: &str = "customer_id";

/// Which column stands where.
pub(super) struct Header {
    /// Name of each field, in the order of the file; `None`: nobody's column, left out.
    pub(super) fields: Vec<Option<&'static str>>,
    ignored: Vec<String>,
}

/// The separator: of comma, semicolon and tab the one that occurs most in the header.
pub(super) fn delimiter(line: &[u8]) -> u8 {
    let count = |delimiter: u8| line.iter().filter(|byte| **byte == delimiter).count();
    // `max_by_key` takes the last of equals: the comma.
    [b'\t', b';', b','].into_iter().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}

impl Header {
    pub(super) fn read(path: &Path, names: &[String]) -> Result<Self, CsvError> {
        let known = || COLUMNS.into_iter().chain([LABEL, IDENTITY]);
        let mut fields = Vec::with_capacity(names.len());
        let mut ignored = Vec::new();
        for name in names {
            let name = name.trim();
            let column = known().find(|column| *column == name);
            if let Some(column) = column
                && fields.contains(&Some(column))
            {
                return Err(CsvError::DuplicateColumn { path: path.to_owned(), column: column.to_owned() });
            }
            if column.is_none() && !name.is_empty() {
                ignored.push(name.to_owned());
            }
            fields.push(column);
        }
        let missing: Vec<String> =
            COLUMNS.into_iter().filter(|column| !fields.contains(&Some(*column))).map(String::from).collect();
        if missing.is_empty() {
            return Ok(Self { fields, ignored });
        }
        let suggestions = ignored
            .iter()
            .filter_map(|found| Some((found.clone(), nearest(found, &missing)?.to_owned())))
            .collect();
        Err(CsvError::WrongHeader { path: path.to_owned(), missing, unexpected: ignored, suggestions })
    }

    pub(super) fn notes(&self) -> Vec<String> {
        self.ignored.iter().map(|name| format!("the column `{name}` is nobody's and is left out")).collect()
    }
}

/// The missing column that an unexpected one resembles, if any.
fn nearest<'a>(found: &str, missing: &'a [String]) -> Option<&'a str> {
    let plain = |name: &str| -> String {
        name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let found = plain(found);
    missing
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&found, &plain(name)), name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().max(found.len()) / 2)
        .map(|(_, name)| name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Header, String> {
        let delimiter = delimiter(line.as_bytes());
        let (fields, _) = super::super::row::fields(line.as_bytes(), delimiter);
        Header::read(Path::new("x.csv"), &fields).map_err(|error| error.to_string())
    }

    #[test]
    fn headers_that_are_right() {
        let all = COLUMNS.join(",");
        for (line, notes) in [
            (all.clone(), 0),
            (format!("{all},Churn"), 0),
            (format!("customer_id,{all}"), 0),
            (format!("{all},Colour"), 1),
            (format!("{all},"), 0),
            (all.replace(',', ";"), 0),
            (all.replace(',', "\t"), 0),
            (all.replace(',', " , "), 0),
            (COLUMNS.into_iter().rev().collect::<Vec<_>>().join(","), 0),
        ] {
            assert_eq!(read(&line).unwrap_or_else(|e| panic!("{line}: {e}")).notes().len(), notes, "{line}");
        }
    }

    #[test]
    fn headers_that_are_wrong() {
        let all = COLUMNS.join(",");
        for (line, parts) in [
            (all.replace("Age,", ""), vec!["missing `Age`"]),
            (
                all.replace("Num_Sites", "NumSites"),
                vec!["missing `Num_Sites`", "did you mean `Num_Sites` by `NumSites`?"],
            ),
            (
                all.replace("Total_Purchase", "total purchase"),
                vec!["did you mean `Total_Purchase` by `total purchase`?"],
            ),
            (all.replace("Age", "Colour"), vec!["missing `Age`; unexpected `Colour`;"]),
            (all.replace("Company", "Age"), vec!["`Age` appears twice"]),
            (String::from("Cameron Williams,42.0"), vec!["missing `Names`", "the columns are Names,Age"]),
        ] {
            let message = read(&line).err().unwrap_or_else(|| panic!("{line} was accepted"));
            for part in parts {
                assert!(message.contains(part), "{message:?} lacks {part:?}");
            }
        }
    }
}
