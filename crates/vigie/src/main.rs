//! The program `vigie`.

fn main() -> std::process::ExitCode {
    vigie::cli::main()
}
