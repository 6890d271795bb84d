//! The YAML shape of the Open Data Contract Standard 3.1, as far as a check needs it.
//!
//! Keys of the standard that do not concern the check are accepted and left aside; keys that the standard does not have are
//! refused, because a misspelt rule would be a rule that is silently not applied.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Document {
    pub api_version: String,
    pub kind: String,
    pub id: String,
    #[serde(default)]
    pub name: Option<String>,
    pub version: String,
    pub status: String,
    #[serde(default)]
    pub description: Option<Description>,
    #[serde(default)]
    pub team: Option<Team>,
    #[serde(default)]
    pub sla_properties: Vec<Sla>,
    pub schema: Vec<Property>,
    #[serde(default)]
    pub custom_properties: Vec<Custom>,
    #[serde(default, rename = "domain")]
    _domain: Option<IgnoredAny>,
    #[serde(default, rename = "dataProduct")]
    _data_product: Option<IgnoredAny>,
    #[serde(default, rename = "tenant")]
    _tenant: Option<IgnoredAny>,
    #[serde(default, rename = "tags")]
    _tags: Option<IgnoredAny>,
    #[serde(default, rename = "servers")]
    _servers: Option<IgnoredAny>,
    #[serde(default, rename = "support")]
    _support: Option<IgnoredAny>,
    #[serde(default, rename = "roles")]
    _roles: Option<IgnoredAny>,
    #[serde(default, rename = "price")]
    _price: Option<IgnoredAny>,
    #[serde(default, rename = "authoritativeDefinitions")]
    _authoritative_definitions: Option<IgnoredAny>,
    #[serde(default, rename = "contractCreatedTs")]
    _contract_created_ts: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Description {
    #[serde(default)]
    pub purpose: String,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Team {
    #[serde(default)]
    pub members: Vec<Person>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Person {
    pub username: String,
    #[serde(default)]
    pub role: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Sla {
    pub property: String,
    pub value: Value,
    #[serde(default)]
    pub unit: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Custom {
    pub property: String,
    pub value: Value,
    #[serde(default, rename = "description")]
    _description: Option<IgnoredAny>,
}

/// A schema object, a property of one, or the items of an array: the standard gives all three the same keys.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Property {
    #[serde(default)]
    pub name: String,
    /// Absent: anything.
    #[serde(default)]
    pub logical_type: Option<String>,
    #[serde(default)]
    pub required: bool,
    #[serde(default)]
    pub classification: Option<String>,
    #[serde(default)]
    pub logical_type_options: Options,
    #[serde(default)]
    pub quality: Vec<Quality>,
    #[serde(default)]
    pub properties: Vec<Property>,
    #[serde(default)]
    pub items: Option<Box<Property>>,
    #[serde(default)]
    pub custom_properties: Vec<Custom>,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default, rename = "id")]
    _id: Option<IgnoredAny>,
    #[serde(default, rename = "businessName")]
    _business_name: Option<IgnoredAny>,
    #[serde(default, rename = "physicalType")]
    _physical_type: Option<IgnoredAny>,
    #[serde(default, rename = "physicalName")]
    _physical_name: Option<IgnoredAny>,
    #[serde(default, rename = "dataGranularityDescription")]
    _granularity: Option<IgnoredAny>,
    #[serde(default, rename = "unique")]
    _unique: Option<IgnoredAny>,
    #[serde(default, rename = "primaryKey")]
    _primary_key: Option<IgnoredAny>,
    #[serde(default, rename = "primaryKeyPosition")]
    _primary_key_position: Option<IgnoredAny>,
    #[serde(default, rename = "partitioned")]
    _partitioned: Option<IgnoredAny>,
    #[serde(default, rename = "partitionKeyPosition")]
    _partition_key_position: Option<IgnoredAny>,
    #[serde(default, rename = "criticalDataElement")]
    _critical: Option<IgnoredAny>,
    #[serde(default, rename = "encryptedName")]
    _encrypted_name: Option<IgnoredAny>,
    #[serde(default, rename = "examples")]
    _examples: Option<IgnoredAny>,
    #[serde(default, rename = "tags")]
    _tags: Option<IgnoredAny>,
    #[serde(default, rename = "authoritativeDefinitions")]
    _authoritative_definitions: Option<IgnoredAny>,
    #[serde(default, rename = "relationships")]
    _relationships: Option<IgnoredAny>,
}

/// The rules that the standard has for a type. `pattern` is not supported, and therefore refused.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Options {
    #[serde(default)]
    pub minimum: Option<f64>,
    #[serde(default)]
    pub maximum: Option<f64>,
    #[serde(default)]
    pub exclusive_minimum: Option<f64>,
    #[serde(default)]
    pub exclusive_maximum: Option<f64>,
    #[serde(default)]
    pub min_length: Option<usize>,
    #[serde(default)]
    pub max_length: Option<usize>,
    #[serde(default)]
    pub min_items: Option<usize>,
    #[serde(default)]
    pub max_items: Option<usize>,
}

/// A quality rule; the check applies `metric: invalidValues` with `arguments.validValues` and `mustBe: 0`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Quality {
    #[serde(default)]
    pub metric: Option<String>,
    #[serde(default)]
    pub arguments: Option<Arguments>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Arguments {
    #[serde(default)]
    pub valid_values: Vec<Value>,
}
