"""How surfaces and people are answered: routing and settings, api/ and pages/. Ray Serve's part is in serve_apps/."""
