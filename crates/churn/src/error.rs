//! What can go wrong, said so that the reader knows what to do next.

use crate::model_file::ModelFileError;

/// An error of the churn crate. Nothing here is transient: the same input gives the same error.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChurnError {
    /// A column was named that the table does not have.
    #[error("there is no column {name:?}; the table has: {}", known.join(", "))]
    UnknownColumn {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// Two columns of a table have the same name.
    #[error("two columns are named {name:?}: rename one of them")]
    DuplicateColumn {
        /// The name that occurs twice.
        name: String,
    },
    /// A row has another number of cells than the header.
    #[error("row {row} has {found} cells where the header has {expected}: check its quotes and separators")]
    RowWidth {
        /// The row, counted from 1 after the header.
        row: usize,
        /// How many cells the header has.
        expected: usize,
        /// How many the row has.
        found: usize,
    },
    /// A table or selection without rows that can be used.
    #[error("{what} has no usable row: {hint}")]
    Empty {
        /// What is empty.
        what: String,
        /// What to check.
        hint: String,
    },
    /// The target holds only one of its two answers.
    #[error(
        "column {column:?} says {value:?} in each of the {rows} rows: both answers are needed to learn the difference"
    )]
    OneClass {
        /// The target column.
        column: String,
        /// The one answer.
        value: String,
        /// How many rows.
        rows: usize,
    },
    /// Too few rows of one kind for the question asked.
    #[error("{found} rows with {what}, at least {needed} are needed")]
    TooFewRows {
        /// Which rows.
        what: String,
        /// How many there are.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// The target (or treatment) does not have two values, and none was named as the positive one.
    #[error("column {column:?} has {} values ({}): name the one that means yes", values.len(), values.iter().take(6).cloned().collect::<Vec<_>>().join(", "))]
    AmbiguousAnswer {
        /// The column.
        column: String,
        /// Its values.
        values: Vec<String>,
    },
    /// The value named as positive does not occur.
    #[error("no row of column {column:?} says {value:?}: check its spelling; the column has {}", known.iter().take(6).cloned().collect::<Vec<_>>().join(", "))]
    PositiveNotFound {
        /// The column.
        column: String,
        /// The value asked for.
        value: String,
        /// The values there are.
        known: Vec<String>,
    },
    /// A column's role does not fit its use.
    #[error("column {column:?} cannot be used as {role}: {reason}")]
    UnfitColumn {
        /// The column.
        column: String,
        /// The use.
        role: String,
        /// Why not.
        reason: String,
    },
    /// No column is left from which anything could be learnt.
    #[error("no column is left to learn from: {reason}")]
    NoFeatures {
        /// Where they went.
        reason: String,
    },
    /// Without a penalty, some columns say the same thing, and their coefficients are not determined.
    #[error("without a penalty the columns {} cannot be told apart (one follows from the others): leave one out, or use the cross-validated penalty", columns.join(", "))]
    Collinear {
        /// The columns that follow from others.
        columns: Vec<String>,
    },
    /// Without a penalty, the columns separate the two answers and the coefficients grow without end.
    #[error(
        "the columns separate the two answers perfectly, so the unpenalised coefficients have no finite value (largest at {column:?}): look for a leak, or use the cross-validated penalty"
    )]
    Separated {
        /// The column with the largest standardised coefficient.
        column: String,
    },
    /// A cell that must be a number, a date or a yes/no is not.
    #[error("column {column:?}: {value:?} is not {expected}")]
    BadCell {
        /// The column.
        column: String,
        /// The cell as found.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A setting outside its range.
    #[error("{setting} = {value}: {expected}")]
    BadSetting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// A model file that was refused.
    #[error(transparent)]
    ModelFile(#[from] ModelFileError),
}
