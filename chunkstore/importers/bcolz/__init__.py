"""What is in a bcolz folder? Read without bcolz: ``docs/design/0005-bcolz.md`` says how."""
