//! What the columns of a customer's record are called, so that no sentence shows a column's code where its name is known.

use vigie_churn::words::{Label, YesNoWords};
use vigie_churn::{Lang, Words};

/// The name of a column, and how its yes and no are said. Unknown columns keep their own name.
pub(super) fn label(column: &str) -> Label {
    let plain = |en: &str, fr: &str| Label::plain(Words::new(en, fr));
    match column {
        "Age" => plain("Age", "L’âge"),
        "Total_Purchase" => plain("Total purchase", "Le total des achats"),
        "Years" => plain("Years as a customer", "L’ancienneté (années)"),
        "Num_Sites" => plain("Number of sites", "Le nombre de sites"),
        "Account_Manager" => Label {
            name: Words::new("Account manager", "Le chargé de compte"),
            yes_no: Some(YesNoWords {
                yes: Words::new("With an account manager", "Avec un chargé de compte"),
                no: Words::new("Without an account manager", "Sans chargé de compte"),
                share: Words::new("have one", "en ont un"),
            }),
        },
        other => plain(other, other),
    }
}

/// The name alone.
pub(super) fn name(column: &str, lang: Lang) -> String {
    label(column).name.text(lang).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_columns_have_a_name_and_others_their_own() {
        assert_eq!(name("Num_Sites", Lang::Fr), "Le nombre de sites");
        assert_eq!(name("tenure", Lang::Fr), "tenure");
        assert_eq!(label("Account_Manager").yes_no.unwrap().no.fr, "Sans chargé de compte");
    }
}
