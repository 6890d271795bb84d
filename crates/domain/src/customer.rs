//! A customer: an id, attributes, personal data.

use std::fmt;

use serde::{Deserialize, Serialize};
use vigie_contracts::Pii;
use xxhash_rust::xxh3::xxh3_64;

/// Identity of a customer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct CustomerId(pub String);

impl CustomerId {
    /// The id of a customer whose record carries none: `c` and 16 hexadecimal digits of the XXH3 of name and company, so that the
    /// same customer has the same id on every machine and in every replay.
    pub fn derived(name: &str, company: &str) -> Self {
        let name = name.trim().to_lowercase();
        let company = company.trim().to_lowercase();
        Self(format!("c{:016x}", xxh3_64(format!("{name}\u{1f}{company}").as_bytes())))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CustomerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A customer's record, as on `costumerchurn` and `test3`: the keys are the columns of the agency's file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Customer {
    /// Identity, where the source knows one; otherwise derived from name and company.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub customer_id: Option<CustomerId>,
    /// Full name.
    #[serde(rename = "Names")]
    #[schema(value_type = String)]
    pub names: Pii<String>,
    /// Years of age.
    #[serde(rename = "Age")]
    pub age: f64,
    /// Ads bought so far, in the agency's currency.
    #[serde(rename = "Total_Purchase")]
    pub total_purchase: f64,
    /// 1 with an account manager, 0 without.
    #[serde(rename = "Account_Manager")]
    pub account_manager: u8,
    /// Years as a customer.
    #[serde(rename = "Years")]
    pub years: f64,
    /// Web sites that use the service.
    #[serde(rename = "Num_Sites")]
    pub num_sites: f64,
    /// When the newest contract began, `YYYY-MM-DD hh:mm:ss`.
    #[serde(rename = "Onboard_date")]
    pub onboard_date: String,
    /// Postal address of the head office.
    #[serde(rename = "Location")]
    #[schema(value_type = String)]
    pub location: Pii<String>,
    /// Company.
    #[serde(rename = "Company")]
    pub company: String,
    /// The label, where the source has one: 1 left, 0 stayed.
    #[serde(rename = "Churn", skip_serializing_if = "Option::is_none", default)]
    pub churn: Option<u8>,
}

impl Customer {
    /// The customer's id: the record's own, or the derived one.
    pub fn id(&self) -> CustomerId {
        self.customer_id.clone().unwrap_or_else(|| CustomerId::derived(self.names.reveal(), &self.company))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_derived_id_ignores_case_and_blanks_and_nothing_else() {
        let id = CustomerId::derived("Cameron Williams", "Harvey LLC");
        assert_eq!(id, CustomerId::derived(" cameron williams ", "HARVEY LLC"));
        assert_ne!(id, CustomerId::derived("Cameron Williams", "Harvey"));
        assert_ne!(CustomerId::derived("ab", "c"), CustomerId::derived("a", "bc"));
        assert_eq!(id.as_str().len(), 17);
    }
}
