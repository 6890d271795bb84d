//! The data that the tests share.

use vigie_churn::{Plan, PlanOptions, Table};

pub const FIVE: [&str; 5] = ["Age", "Total_Purchase", "Account_Manager", "Years", "Num_Sites"];

pub fn five() -> Option<Vec<String>> {
    Some(FIVE.map(str::to_owned).to_vec())
}

/// A CSV file of the repository; surplus cells at the end of a row are dropped.
pub fn csv(file: &str) -> Table {
    let path = format!("{}/../../data/{file}", env!("CARGO_MANIFEST_DIR"));
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(path).unwrap();
    let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let mut table = Table::new(names.clone()).unwrap();
    for record in reader.records() {
        let record = record.unwrap();
        let cells: Vec<Option<&str>> = record.iter().take(names.len()).map(Some).collect();
        table.push_row(&cells).unwrap();
    }
    table
}

pub fn agency() -> (Table, Plan) {
    let table = csv("customer_churn.csv");
    let options =
        PlanOptions { treatment: Some("Account_Manager".to_owned()), ..PlanOptions::for_target("Churn") };
    let plan = Plan::infer(&table, &options).unwrap();
    (table, plan)
}
