print("stub53")
